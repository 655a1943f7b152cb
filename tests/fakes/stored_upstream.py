"""An upstream that keeps files and runs batches as OpenAI does, strictly: a real server, in threads of its own.

Each path prefix is an account with a key, files and batches of its own.  A batch ends when the test says so.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Never, Self
from urllib.parse import SplitResult, parse_qs, urlsplit

FORBIDDEN = ("provider", "custom_llm_provider")
"""What is for the proxy alone."""
ENDED = ("completed", "failed", "expired", "cancelled")


class Account:
    """What one account keeps."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, list[bytes]] = {}


class StoredUpstream:
    """The server.  problems: where the proxy broke the protocol.  seen: ``METHOD path`` of every request.

    answers_batches: cleared, no request to make a batch is answered, though it is made; ``asked`` says that one has come.
    """

    def __init__(self, keys: dict[str, str]) -> None:
        self.accounts = {prefix: Account(key) for prefix, key in keys.items()}
        self.problems: list[str] = []
        self.seen: list[str] = []
        self.failing: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self.cut: set[str] = set()
        self.answers_batches = threading.Event()
        self.answers_batches.set()
        self.asked = threading.Event()
        self.largest_piece = 0
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._gate = threading.RLock()
        handler = type("Handler", (self.handler(),), {"server_upstream": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True)

    def handler(self) -> type[Handler]:
        """What answers requests."""
        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answers_batches.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def base_url(self, prefix: str) -> str:
        return f"http://{self.host}{prefix}"

    def fail(self, method_and_path: str, *answers: tuple[int, dict[str, str]]) -> None:
        """The next requests of that kind, by the end of their path, are answered with these errors."""
        self.failing[method_and_path] = list(answers)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile nobody is answered."""
        with self._gate:
            yield

    def holder(self, thing: str) -> str:
        """The prefix of the account that has a file or a batch."""
        return next(name for name, it in self.accounts.items() if thing in it.files or thing in it.batches)

    # --- batches ---

    def end(self, batch_id: str, *, status: str = "completed", lines: list[dict[str, Any]] | None = None) -> None:
        """The batch has ended.  lines: of its output; without them each request is answered with its number of words."""
        with self._lock:
            account = self.accounts[self.holder(batch_id)]
            batch = account.batches[batch_id]
            asked = [json.loads(line) for line in account.contents[batch["input_file_id"]].splitlines() if line.strip()]
            made = lines if lines is not None else [answer_to(it, batch["endpoint"]) for it in asked]
            batch["status"] = status
            batch["completed_at"] = int(time.time())
            batch["request_counts"] = {"total": len(asked), "completed": len(made), "failed": len(asked) - len(made)}
            if made:
                text = b"".join(json.dumps(line).encode() + b"\n" for line in made)
                batch["output_file_id"] = self.store(account, text, "batch_output", f"{batch_id}_output.jsonl")["id"]

    def store(self, account: Account, content: bytes, purpose: str, filename: str) -> dict[str, Any]:
        """A new file."""
        name = f"file-{next(self._ids):06d}"
        account.contents[name] = content
        account.files[name] = {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        return account.files[name]

    def new_id(self, kind: str) -> str:
        return f"{kind}_{next(self._ids):06d}"


def answer_to(asked: dict[str, Any], endpoint: str) -> dict[str, Any]:
    """The line that answers a line: usage of 10 tokens in and 2 out, or whatever its ``user`` says as ``in,out``."""
    body = asked["body"]
    said = str(body.get("user", "10,2")).split(",")
    if said[0] == "fail":
        refused = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}}
        return {"id": "batch_req_1", "custom_id": asked["custom_id"], "response": {"status_code": 400, "body": refused}}
    tokens_in, tokens_out = int(said[0]), int(said[1])
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "model": body["model"], "choices": [], "usage": usage}
    if endpoint == "/v1/embeddings":
        answer = {"object": "list", "data": [], "model": body["model"], "usage": {"prompt_tokens": tokens_in}}
    response = {"status_code": 200, "request_id": "req_1", "body": answer}
    return {"id": "batch_req_1", "custom_id": asked["custom_id"], "response": response, "error": None}


class RefusedError(Exception):
    def __init__(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = headers or {}


class _GoneError(Exception):
    """The peer left before its request was whole: there is none."""


class Handler(BaseHTTPRequestHandler):
    server_upstream: StoredUpstream
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        up = self.server_upstream
        url = urlsplit(self.path)
        with up._lock:
            up.seen.append(f"{method} {self.path}")
        try:
            self._decide(method, url)
        except (_GoneError, ConnectionError):
            self.close_connection = True

    def _decide(self, method: str, url: SplitResult) -> None:
        up = self.server_upstream
        body = self._body()
        with up._gate:
            pass
        try:
            prefix = next((it for it in up.accounts if url.path.startswith(it + "/")), None)
            if prefix is None:
                up.problems.append(f"no such path: {self.path}")
                raise RefusedError(404, "unknown_url")
            account = up.accounts[prefix]
            if not self._opens(account):
                up.problems.append(f"another key at {self.path}")
                raise RefusedError(401, "invalid_api_key")
            path = url.path.removeprefix(prefix)
            for name, answers in up.failing.items():
                if answers and f"{method} {path}".endswith(name):
                    status, headers = answers.pop(0)
                    raise RefusedError(status, "scripted", headers)
            content = self._serve(up, account, method, path.strip("/").split("/"), body, parse_qs(url.query))
        except RefusedError as refused:
            self._send(refused.status, json.dumps(self._error(refused)).encode(), headers=refused.headers)
            return
        if isinstance(content, bytes):
            cut = any(self.path.endswith(it) for it in up.cut)
            self._send(200, content, kind="application/octet-stream", cut=cut)
        else:
            self._send(200, json.dumps(content).encode())

    def _opens(self, account: Account) -> bool:
        return self.headers.get("authorization") == f"Bearer {account.key}"

    def _error(self, refused: RefusedError) -> dict[str, Any]:
        return {"error": {"message": refused.code, "type": "invalid_request_error", "param": None, "code": refused.code}}

    def _serve(
        self, up: StoredUpstream, account: Account, method: str, parts: list[str], body: bytes, query: dict[str, list[str]]
    ) -> dict[str, Any] | bytes:
        match (method, *parts):
            case ("POST", "files"):
                fields, (filename, content) = self._form(up, body, "file")
                if set(fields) & set(FORBIDDEN):
                    up.problems.append("a field that is the proxy's own")
                with up._lock:
                    return up.store(account, content, fields["purpose"], filename)
            case ("GET", "files", name):
                return found(account.files, name)
            case ("GET", "files", name, "content"):
                return found(account.contents, name)
            case ("DELETE", "files", name):
                found(account.files, name)
                del account.files[name], account.contents[name]
                return {"id": name, "object": "file", "deleted": True}
            case ("POST", "uploads"):
                said = self._json(up, body)
                name = up.new_id("upload")
                account.uploads[name] = []
                return {"id": name, "object": "upload", "status": "pending", **said}
            case ("POST", "uploads", name, "parts"):
                _, (_, content) = self._form(up, body, "data")
                found(account.uploads, name).append(content)
                return {"id": up.new_id("part"), "object": "upload.part", "upload_id": name, "created_at": 1}
            case ("POST", "uploads", name, "complete"):
                content = b"".join(found(account.uploads, name))
                with up._lock:
                    file = up.store(account, content, "batch", "joined.jsonl")
                return {"id": name, "object": "upload", "status": "completed", "file": file}
            case ("POST", "uploads", name, "cancel"):
                found(account.uploads, name)
                return {"id": name, "object": "upload", "status": "cancelled"}
            case ("POST", "batches"):
                return self._make(up, account, self._json(up, body))
            case ("GET", "batches"):
                rows = list(reversed(account.batches.values()))
                after = query.get("after", [""])[0]
                if after:
                    rows = rows[[row["id"] for row in rows].index(after) + 1 :]
                limit = int(query.get("limit", ["20"])[0])
                return {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit}
            case ("GET", "batches", name):
                return found(account.batches, name)
            case ("POST", "batches", name, "cancel"):
                batch = found(account.batches, name)
                batch["status"] = "cancelling"
                return batch
            case ("POST", "chat", "completions"):
                return self._chat(up, account, self._json(up, body))
        up.problems.append(f"no such request: {method} {'/'.join(parts)}")
        raise RefusedError(404, "unknown_url")

    def _chat(self, up: StoredUpstream, account: Account, said: dict[str, Any]) -> dict[str, Any]:
        """An answer to who names only files that are here."""
        parts = [part for message in said["messages"] for part in message["content"] if isinstance(part, dict)]
        for part in parts:
            if part["type"] == "file" and part["file"]["file_id"] not in account.files:
                up.problems.append("a file of another account")
                raise RefusedError(404, "file_not_found")
        message = {"role": "assistant", "content": "read"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
        return {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": said["model"],
            "choices": [choice],
            "usage": usage,
        }

    def _make(self, up: StoredUpstream, account: Account, said: dict[str, Any]) -> dict[str, Any]:
        if said["input_file_id"] not in account.files:
            up.problems.append("a batch of a file of another account")
            raise RefusedError(404, "file_not_found")
        if set(said) & set(FORBIDDEN):
            up.problems.append("a field that is the proxy's own")
        with up._lock:
            name = up.new_id("batch")
            account.batches[name] = {
                "id": name,
                "object": "batch",
                "endpoint": said["endpoint"],
                "input_file_id": said["input_file_id"],
                "completion_window": said["completion_window"],
                "status": "validating",
                "created_at": int(time.time()),
                "output_file_id": None,
                "error_file_id": None,
                "metadata": said.get("metadata"),
            }
        up.asked.set()
        up.answers_batches.wait(30)
        return account.batches[name]

    # --- bytes ---

    def _body(self) -> bytes:
        up = self.server_upstream
        if self.headers.get("transfer-encoding", "") == "chunked":
            pieces = []
            while count := int(self.rfile.readline() or self._gone(), 16):
                up.largest_piece = max(up.largest_piece, count)
                pieces.append(self.rfile.read(count))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            raise _GoneError
        return body

    def _gone(self) -> Never:
        raise _GoneError

    def _json(self, up: StoredUpstream, body: bytes) -> dict[str, Any]:
        if self.headers.get("content-type") != "application/json":
            up.problems.append(f"content-type {self.headers.get('content-type')!r}")
        said: dict[str, Any] = json.loads(body)
        return said

    def _form(self, up: StoredUpstream, body: bytes, file: str) -> tuple[dict[str, str], tuple[str, bytes]]:
        kind = self.headers.get("content-type", "")
        read = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
        if read.defects or not read.is_multipart():
            up.problems.append(f"no form: {kind!r} {read.defects}")
            raise RefusedError(400, "invalid_form")
        if not body.startswith(b"--"):
            up.problems.append("something stands before the form")
        fields, found = {}, None
        for part in read.get_payload():
            name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]  # a message
            content = part.get_payload(decode=True)  # type: ignore[union-attr]  # as above
            assert isinstance(name, str) and isinstance(content, bytes)
            if part.get_filename() is not None:  # type: ignore[union-attr]  # as above
                found = name, str(part.get_filename()), content  # type: ignore[union-attr]  # as above
            else:
                fields[name] = content.decode()
        if found is None or found[0] != file:
            raise RefusedError(400, "no_file")
        return fields, found[1:]

    def _send(
        self,
        status: int,
        content: bytes,
        *,
        kind: str = "application/json",
        cut: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.send_header("x-request-id", "up_1")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if cut:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(content)


def found(things: dict[str, Any], name: str) -> Any:
    if name not in things:
        raise RefusedError(404, "no_such_thing")
    return things[name]


@contextmanager
def accounts(*names: str) -> Iterator[StoredUpstream]:
    """An upstream with an account below ``/NAME/v1`` for each of these."""
    with StoredUpstream({f"/{name}/v1": f"sk-{name}-0123456789abcdef0123456789" for name in names}) as upstream:
        yield upstream
        assert upstream.problems == []
