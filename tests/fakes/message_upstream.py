"""An upstream that keeps files and runs message batches as Anthropic does, strictly.

Each path prefix is an account with a key, files and batches of its own.  A batch ends when the test says so.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.fakes.stored_upstream import FORBIDDEN, Account, Handler, RefusedError, StoredUpstream, found

CALLER = "api.anthropic.invalid"
"""Where it says that its results are: nobody is to ask there."""
TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 500: "api_error"}


def now(after_s: float = 0.0) -> str:
    return datetime.fromtimestamp(time.time() + after_s, UTC).isoformat().replace("+00:00", "Z")


class MessageUpstream(StoredUpstream):
    """The server.  headers: of each request, with its path.  requests: of each batch, as they came."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.requests: dict[str, list[dict[str, Any]]] = {}
        self.results: dict[str, bytes] = {}
        super().__init__(keys)

    def handler(self) -> type[Handler]:
        """What answers requests."""
        return MessageHandler

    def betas(self, path: str) -> list[str]:
        """What requests to a path, by its end, said of betas."""
        return [it["anthropic-beta"] for seen, it in self.headers if seen.endswith(path) and "anthropic-beta" in it]

    def finish(self, batch_id: str, *, results: list[dict[str, Any]] | None = None) -> None:
        """The batch has ended.  results: of its requests; without them each is answered by its ``metadata.user_id``."""
        with self._lock:
            batch = self.accounts[self.holder(batch_id)].batches[batch_id]
            made = results if results is not None else [answer_to(it) for it in self.requests[batch_id]]
            kinds = [it["result"]["type"] for it in made]
            batch["processing_status"] = "ended"
            batch["ended_at"] = now()
            batch["request_counts"] = {
                kind: kinds.count(kind) for kind in ("processing", "succeeded", "errored", "canceled", "expired")
            }
            batch["results_url"] = f"https://{CALLER}/v1/messages/batches/{batch_id}/results"
            # In another order than they were asked in.
            self.results[batch_id] = b"".join(json.dumps(it).encode() + b"\n" for it in reversed(made))


def result(custom_id: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "result": {"type": kind, **more}}


def answer_to(asked: dict[str, Any]) -> dict[str, Any]:
    """The result of a request: usage as its ``metadata.user_id`` says it, ``in,out,cache read,cache written``."""
    params = asked["params"]
    said = str(params.get("metadata", {}).get("user_id", "10,2"))
    if said in ("errored", "canceled", "expired"):
        refused = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": None}
        return result(asked["custom_id"], said, **({"error": refused} if said == "errored" else {}))
    counts = [*map(int, said.split(",")), 0, 0][:4]
    usage = {
        "input_tokens": counts[0],
        "output_tokens": counts[1],
        "cache_read_input_tokens": counts[2],
        "cache_creation_input_tokens": counts[3],
        "service_tier": "batch",
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": params["model"],
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    return result(asked["custom_id"], "succeeded", message=message)


class MessageHandler(Handler):
    """Answers as Anthropic does."""

    server_upstream: MessageUpstream

    def _opens(self, account: Account) -> bool:
        up = self.server_upstream
        up.headers.append((self.path, dict(self.headers.items())))
        if not re.fullmatch(r"20\d\d-\d\d-\d\d", self.headers.get("anthropic-version") or ""):
            up.problems.append(f"no version at {self.path}")
        if self.headers.get("authorization") is not None:
            up.problems.append(f"a second key at {self.path}")
        return self.headers.get("x-api-key") == account.key

    def _error(self, refused: RefusedError) -> dict[str, Any]:
        kind = TYPES.get(refused.status, "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": refused.code}, "request_id": "req_up"}

    def _serve(
        self, up: StoredUpstream, account: Account, method: str, parts: list[str], body: bytes, query: dict[str, list[str]]
    ) -> dict[str, Any] | bytes:
        mine = self.server_upstream
        match (method, *parts):
            case ("POST", "files"):
                fields, (filename, content) = self._form(up, body, "file")
                if set(fields) & set(FORBIDDEN):
                    up.problems.append("a field that is the proxy's own")
                return self._keep(account, filename, content)
            case ("GET", "files", name):
                return found(account.files, name)
            case ("GET", "files", name, "content"):
                return found(account.contents, name)
            case ("DELETE", "files", name):
                found(account.files, name)
                del account.files[name], account.contents[name]
                return {"id": name, "type": "file_deleted"}
            case ("POST", "messages", "batches"):
                return self._begin(mine, account, self._json(up, body))
            case ("GET", "messages", "batches"):
                rows = list(reversed(account.batches.values()))
                if after := query.get("after_id", [""])[0]:
                    rows = rows[[row["id"] for row in rows].index(after) + 1 :]
                limit = int(query.get("limit", ["20"])[0])
                page = rows[:limit]
                ids = [row["id"] for row in page]
                more = len(rows) > limit
                return {
                    "data": page,
                    "has_more": more,
                    "first_id": ids[0] if ids else None,
                    "last_id": ids[-1] if ids else None,
                }
            case ("GET", "messages", "batches", name):
                return found(account.batches, name)
            case ("GET", "messages", "batches", name, "results"):
                if found(account.batches, name)["processing_status"] != "ended":
                    raise RefusedError(404, "no results yet")
                return mine.results[name]
            case ("POST", "messages", "batches", name, "cancel"):
                batch: dict[str, Any] = found(account.batches, name)
                batch["processing_status"] = "canceling"
                batch["cancel_initiated_at"] = now()
                return batch
            case ("DELETE", "messages", "batches", name):
                if found(account.batches, name)["processing_status"] != "ended":
                    raise RefusedError(400, "still in progress")
                del account.batches[name], mine.results[name]
                return {"id": name, "type": "message_batch_deleted"}
            case ("POST", "messages"):
                return self._message(up, account, self._json(up, body))
        up.problems.append(f"no such request: {method} {'/'.join(parts)}")
        raise RefusedError(404, "unknown_url")

    def _keep(self, account: Account, filename: str, content: bytes) -> dict[str, Any]:
        up = self.server_upstream
        with up._lock:
            name = up.new_id("file")
            account.contents[name] = content
            account.files[name] = {
                "id": name,
                "type": "file",
                "filename": filename,
                "mime_type": "text/plain",
                "size_bytes": len(content),
                "created_at": now(),
                "downloadable": True,
            }
        return account.files[name]

    def _begin(self, up: MessageUpstream, account: Account, said: dict[str, Any]) -> dict[str, Any]:
        if said.keys() != {"requests"} or any(it.keys() != {"custom_id", "params"} for it in said["requests"]):
            up.problems.append(f"fields of a batch: {sorted(said)}")
        for it in said["requests"]:
            self._check_files(up, account, it["params"])
        with up._lock:
            name = up.new_id("msgbatch")
            up.requests[name] = said["requests"]
            account.batches[name] = {
                "id": name,
                "type": "message_batch",
                "processing_status": "in_progress",
                "request_counts": {
                    "processing": len(said["requests"]), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0
                },
                "created_at": now(),
                "expires_at": now(86_400),
                "ended_at": None,
                "archived_at": None,
                "cancel_initiated_at": None,
                "results_url": None,
            }  # fmt: skip
        up.asked.set()
        up.answers_batches.wait(30)
        return account.batches[name]

    def _message(self, up: StoredUpstream, account: Account, said: dict[str, Any]) -> dict[str, Any]:
        self._check_files(up, account, said)
        message: dict[str, Any] = answer_to({"custom_id": "1", "params": {"model": said["model"]}})["result"]["message"]
        return message

    def _check_files(self, up: StoredUpstream, account: Account, params: dict[str, Any]) -> None:
        """Only files that are here are named."""
        for message in params["messages"]:
            for block in message["content"] if isinstance(message["content"], list) else ():
                name = block.get("source", {}).get("file_id") or block.get("file_id")
                if name is not None and name not in account.files:
                    up.problems.append("a file of another account")
                    raise RefusedError(404, "file_not_found")


@contextmanager
def accounts(*names: str) -> Iterator[MessageUpstream]:
    """An upstream with an account below ``/NAME/v1`` for each of these."""
    with MessageUpstream({f"/{name}/v1": f"sk-{name}-0123456789abcdef0123456789" for name in names}) as upstream:
        yield upstream
        assert upstream.problems == [], upstream.problems
