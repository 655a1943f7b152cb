"""What the edge reads of a path and a body of Gemini's, and its streams as one array."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy.api.gemini import Array, Method, head, method_of, page, weigh
from proxy.call import PLAIN, Weight
from proxy.deployments.models import Model
from proxy.errors import InvalidRequest, ProxyError


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/v1beta/models/m:generateContent", {}, ("generateContent", "m", False, False)),
        ("/v1/models/m:generateContent", {}, ("generateContent", "m", False, False)),
        ("/v1beta/models/a/b:free:streamGenerateContent", {"alt": "sse"}, ("generateContent", "a/b:free", True, False)),
        ("/v1beta/models/m:streamGenerateContent", {}, ("generateContent", "m", True, True)),
        ("/v1beta/models/m:countTokens", {}, ("countTokens", "m", False, False)),
        ("/v1beta/models/m:batchEmbedContents", {}, ("batchEmbedContents", "m", False, False)),
        ("/v1beta/models/m:delete", {}, None),
        ("/v1beta/models/m", {}, None),
        ("/v1beta/other/m:generateContent", {}, None),
    ],
)
def test_a_path_says_the_model_and_what_is_done(path: str, query: dict[str, str], expected: tuple[Any, ...] | None) -> None:
    method = method_of(path, query)

    assert (method and (method.endpoint, method.model, method.stream, method.array)) == expected


def read(body: dict[str, Any], model: str = "m") -> Any:
    return head(body, Method(endpoint="generateContent", model=model, stream=True, array=True))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (None, 1)),
        ({"generationConfig": {"maxOutputTokens": 5, "candidateCount": 2}}, (5, 2)),
        ({"generation_config": {"max_output_tokens": 5}}, (5, 1)),
        ({"generationConfig": {"maxOutputTokens": 5, "max_output_tokens": 9}}, (9, 1)),
        ({"generationConfig": {"maxOutputTokens": 9}, "generation_config": {"max_output_tokens": 5}}, (9, 1)),
    ],
)
def test_bounds_count_however_they_are_spelled(config: dict[str, Any], expected: tuple[int | None, int]) -> None:
    found = read({"contents": [], **config})

    assert (found.output_max, found.choices) == expected
    assert (found.model, found.stream, found.array) == ("m", True, True)


@pytest.mark.parametrize(
    ("body", "model", "param"),
    [
        ({"generationConfig": 7}, "m", "generationConfig"),
        ({"generationConfig": {"maxOutputTokens": "7"}}, "m", "maxOutputTokens"),
        ({}, "", "model"),
        ({}, "a\nb", "model"),
        ({"base_url": "x"}, "m", "base_url"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(body: dict[str, Any], model: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(body, model)

    assert caught.value.param == param


def parts(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}], **more}


PICTURE = {"inlineData": {"mimeType": "image/png", "data": "QUJD" * 10}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (parts({"text": "a"}), PLAIN),
        (parts(PICTURE), Weight(references=1, payload_bytes=40)),
        (parts({"inline_data": {"mime_type": "image/png", "data": "QUJD"}}), Weight(references=1, payload_bytes=4)),
        (parts({"inlineData": {"mimeType": "audio/wav", "data": "QUJD"}}), Weight(references=1, payload_bytes=4, audio=True)),
        (parts({"fileData": {"mimeType": "video/mp4", "fileUri": "u"}}), Weight(references=1, audio=True)),
        (parts({"functionResponse": {"parts": [PICTURE]}}), Weight(references=1, payload_bytes=40)),
        (parts(systemInstruction={"parts": [PICTURE]}), Weight(references=1, payload_bytes=40)),
        (parts(tools=[{"functionDeclarations": []}, {"function_declarations": []}]), PLAIN),
        (parts(tools=[{"googleSearch": {}}]), Weight(references=1)),
        (parts(cached_content="c"), Weight(references=1)),
        ({"requests": [{"content": {"parts": [PICTURE]}}]}, Weight(references=1, payload_bytes=40)),
        ({"generateContentRequest": parts(PICTURE)}, Weight(references=1, payload_bytes=40)),
        ({"contents": {"parts": PICTURE}}, Weight(references=1, payload_bytes=40)),
        ({"contents": "x", "tools": 7, "requests": 7}, PLAIN),
        (parts(7, None), PLAIN),
    ],
)
def test_what_is_not_text_has_a_weight(body: dict[str, Any], expected: Weight) -> None:
    assert weigh(body, {}) == expected


def test_an_answer_that_may_be_spoken_has_a_weight() -> None:
    assert weigh(parts({"text": "a"}), {"responseModalities": ["AUDIO"]}) == Weight(audio=True)


def test_a_page_names_the_next_one() -> None:
    models = [Model(id=name, owned_by="x") for name in "abc"]

    first = page(models, {"pageSize": "2"})
    second = page(models, {"pageToken": first.next_page_token})

    assert [it.name for it in (*first.models, *second.models)] == ["models/a", "models/b", "models/c"]
    assert (first.next_page_token, second.next_page_token) == ("2", "")


@pytest.mark.parametrize("query", [{"pageSize": "x"}, {"pageToken": "-1"}, {"pageToken": "9" * 10}])
def test_a_page_that_is_none_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        page([], query)


# --- one array ---------------------------------------------------------------------------------------------------------


class Chunks:
    """Events, and what ends them."""

    def __init__(self, *events: bytes, closing: bytes = b"", writes: bool = False) -> None:
        self._events = list(events)
        self._writes = writes
        self.closing = closing
        self.failed: list[ProxyError] = []
        self.closed = False

    async def read(self, write: Callable[[bytes], bool] = lambda _: False) -> bytes:
        while self._events:
            events = self._events.pop(0)
            if not (self._writes and write(events)):
                return events
        return b""

    def fail(self, error: ProxyError) -> None:
        self.failed.append(error)

    def close(self) -> None:
        self.closed = True


def event(number: int) -> bytes:
    return b'data: {"n":%d}\r\n\r\n' % number


async def told(array: Array, write: Callable[[bytes], bool] = lambda _: False) -> bytes:
    pieces = []
    while piece := await array.read(write):
        pieces.append(piece)
    return b"".join(pieces) + array.closing


@pytest.mark.parametrize("events", [[], [event(1)], [event(1), event(2) + event(3)], [b": ping\r\n\r\n", event(1)]])
@pytest.mark.parametrize("closing", [b"", event(9)])
async def test_events_become_the_elements_of_one_array(events: list[bytes], closing: bytes) -> None:
    expected = [json.loads(part[6:]) for part in b"".join([*events, closing]).split(b"\r\n\r\n") if part.startswith(b"data")]

    answer = await told(Array(Chunks(*events, closing=closing)))

    assert json.loads(answer) == expected


async def test_what_could_not_be_written_at_once_is_returned_whole() -> None:
    written: list[bytes] = []

    def write(events: bytes) -> bool:
        if len(written) == 1:
            return False
        written.append(events)
        return True

    array = Array(Chunks(event(1), event(2), writes=True, closing=event(3)))

    answer = await told(array, write)

    assert json.loads(b"".join(written) + answer) == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_an_error_is_the_last_element() -> None:
    array = Array(Chunks(event(1)))

    begun = await array.read()

    assert json.loads(begun + array.ended(event(500))) == [{"n": 1}, {"n": 500}]
