"""Who may send a body, and what happens to one that is too large, too slow, or not JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.api.admin.door import BODY_MAX_BYTES, Door, Message
from proxy.call import Principal
from proxy.errors import InvalidApiKey


class Street:
    """A client on one side, an application on the other; it remembers what was read and what was passed on."""

    def __init__(self, *messages: Message, method: str = "POST", path: str = "/admin/v1/keys", key: str = "good") -> None:
        self.messages = list(messages)
        self.read = 0
        self.inside: list[Message] = []
        self.sent: list[Message] = []
        self.scope = {"type": "http", "method": method, "path": path, "headers": [(b"authorization", key.encode())]}

    async def pass_by(self) -> int:
        """The status that the client gets."""
        await Door(self._app, identify=identify)(self.scope, self._receive, self._send)
        status: int = self.sent[0]["status"]
        return status

    async def _app(self, _: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            self.inside.append(message)
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def _receive(self) -> Message:
        self.read += 1
        return self.messages.pop(0)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


def identify(authorization: tuple[str, ...]) -> Principal:
    if authorization != ("good",):
        raise InvalidApiKey("no")
    return Principal(key_id="k", name="k")


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


async def test_a_body_that_came_in_pieces_is_passed_on_whole() -> None:
    street = Street(body(b'{"a":', more=True), body(b"1}"))

    assert await street.pass_by() == 200
    assert [message["body"] for message in street.inside] == [b'{"a":1}']


@pytest.mark.parametrize("key", ["", "bad"])
async def test_a_stranger_s_body_is_not_even_read(key: str) -> None:
    street = Street(body(b"{}"), key=key)

    assert await street.pass_by() == 401
    assert (street.read, street.inside) == (0, [])


async def test_a_body_that_grows_too_large_is_refused_before_its_end() -> None:
    street = Street(*[body(b" " * 1024, more=True) for _ in range(1000)])

    assert await street.pass_by() == 413
    assert street.read == BODY_MAX_BYTES // 1024 + 1
    assert street.inside == []


@pytest.mark.parametrize("content", [b"[1]", b'{"a":1,"a":2}', b'{"a":NaN}', b"{" * 500, b"\xff", b'{"a":"\\ud800"}'])
async def test_what_is_not_one_strict_object_is_refused(content: bytes) -> None:
    street = Street(body(content))

    assert await street.pass_by() == 400
    assert json.loads(street.sent[1]["body"])["error"]["code"] == "invalid_json"
    assert street.inside == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/admin/v1/keys"), ("HEAD", "/health"), ("GET", "/v1/receipts/1")])
async def test_what_has_no_body_goes_by(method: str, path: str) -> None:
    street = Street(body(b"not json"), method=method, path=path, key="bad")

    assert await street.pass_by() == 200
    assert len(street.inside) == 1


async def test_no_body_is_none() -> None:
    street = Street(body(b""), method="DELETE")

    assert await street.pass_by() == 200
    assert [message["body"] for message in street.inside] == [b""]


@pytest.mark.parametrize("sent", [b"", b'{"grace_s": 0}'])
async def test_nothing_is_done_for_a_client_who_left_before_its_body_was_whole(sent: bytes) -> None:
    street = Street(body(sent, more=True), {"type": "http.disconnect"}, path="/admin/v1/keys/k/rotate")

    assert await street.pass_by() == 499
    assert street.inside == []


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        ("/v1/files", True),
        ("/v1/uploads/upload_1/parts", True),
        ("/v1/uploads/upload_1/complete", False),
        ("/v1/files/file-1", False),
        ("/v1/uploads/a/b/parts", False),
    ],
)
async def test_a_file_passes_in_pieces_for_who_has_a_key(path: str, passes: bool) -> None:
    piece = b"x" * (BODY_MAX_BYTES + 1)

    assert await Street(body(piece, more=True), body(b""), path=path).pass_by() == (200 if passes else 413)
    stranger = Street(body(piece), path=path, key="bad")
    assert (await stranger.pass_by(), stranger.read) == (401, 0)
