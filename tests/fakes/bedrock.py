"""A strict Bedrock: checks every signature, and every request against AWS's own model of the service; serves recordings.

A real server, in threads of its own.  Streams go out in pieces that do not end where frames do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any, Self
from urllib.parse import unquote

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.fakes import sigv4
from tests.fakes.posts import Post, Said, serving
from tests.recordings import Recording

REGION = "eu-west-1"
KEY, SECRET, TOKEN = "ASIATESTKEY000000001", "s3cr3t/of+the/test", "session/token=="
BEARER = "bedrock-api-key-0123456789abcdef"
COUNTED = 23
OPERATIONS = {
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "invoke": "InvokeModel",
    "count-tokens": "CountTokens",
}


@cache
def _service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")


def problems_of(model: str, body: Mapping[str, Any], operation: str = "Converse") -> list[str]:
    """What AWS's own model of the service, and what its documentation says beside it, finds wrong with a request."""
    shape = _service().operation_model(operation).input_shape
    report = ParamValidator().validate({"modelId": model, **body}, shape)
    found = [report.generate_report()] if report.has_errors() else []
    messages = body.get("messages", [])
    roles = [it["role"] for it in messages]
    if roles and (roles[0] != "user" or any(one == other for one, other in pairwise(roles))):
        found.append(f"A conversation must start with a user message, and roles must alternate: {roles}")
    waiting: set[str] = set()
    for message in messages:
        results = {it["toolResult"]["toolUseId"] for it in message["content"] if "toolResult" in it}
        if results != waiting:
            found.append(f"Expected toolResult blocks for {sorted(waiting)}, got {sorted(results)}")
        waiting = {it["toolUse"]["toolUseId"] for it in message["content"] if "toolUse" in it}
        if not message["content"] or any("text" in it and not it["text"].strip() for it in message["content"]):
            found.append("The content is empty, or a text of it is blank")
    if any("toolUse" in it for message in messages for it in message["content"]) and "toolConfig" not in body:
        found.append("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    return found


@dataclass(slots=True)
class Seen:
    """One request.  problem: what was wrong with it; it was then answered with an error."""

    model: str
    action: str
    headers: dict[str, str]
    body: dict[str, Any]
    problem: str = ""


@dataclass(slots=True)
class Bedrock:
    """The server.  answers: by model, the recorded exchange or the status, the content type and the body to be sent."""

    answers: dict[str, Recording | tuple[int, str, bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    base_url: str = ""
    _life: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.base_url = self._life.enter_context(serving(self._answer))
        return self

    def __exit__(self, *_: object) -> None:
        self._life.close()

    def of(self, model: str) -> list[Seen]:
        """What was asked of one model."""
        return [it for it in list(self.seen) if it.model == model]

    def _answer(self, post: Post) -> Said:
        _, kind, model, action = post.path.split("/")
        seen = Seen(unquote(model), action, post.headers, json.loads(post.body))
        self.seen.append(seen)
        answer = self.answers.get(seen.model)
        # The body of InvokeModel is the model's own business.
        said = {"body": post.body} if action == "invoke" else seen.body
        found = problems_of(seen.model, said, OPERATIONS[action]) if kind == "model" else ["There is no such path."]
        status, content_type = 400, "application/json"
        if denied := _denied(post):
            status, seen.problem = 403, denied
        elif found:
            seen.problem = "; ".join(found)
        elif answer is None:
            seen.problem = "The provided model identifier is invalid."
        elif isinstance(answer, Recording):
            status, content_type, body = answer.status, answer.content_type, answer.body
        else:
            status, content_type, body = answer
        if seen.problem:
            body = json.dumps({"message": seen.problem}).encode()
        identity = {"x-amzn-requestid": f"aws-{len(self.seen)}"}
        if action == "invoke":
            identity["x-amzn-bedrock-input-token-count"] = str(COUNTED)
        return Said(status, content_type, body, pieces="eventstream" in content_type, headers=identity)


def _denied(post: Post) -> str:
    if post.headers.get("authorization", "").startswith("Bearer "):
        return "" if post.headers["authorization"] == f"Bearer {BEARER}" else "The security token is invalid."
    return sigv4.problem(
        post.path,
        post.headers,
        post.body,
        secrets={KEY: SECRET},
        tokens={KEY: TOKEN},
        service="bedrock",
        region=REGION,
        now=datetime.now(UTC),
    )
