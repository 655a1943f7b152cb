"""What Anthropic's files, batches and their results say of themselves."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.anthropic import stored
from providers.errors import InvalidResponse
from providers.keeping import Answered
from providers.openai.vendors import VENDORS
from providers.provider import Upstream

BATCH: dict[str, Any] = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 3},
    "created_at": "2026-11-22T10:00:00.5Z",
    "results_url": "https://api.anthropic.invalid/v1/messages/batches/msgbatch_1/results",
}


def batch(**fields: Any) -> stored.BatchObject:
    return stored.batch_object(json.dumps({**BATCH, **fields}).encode())


def test_a_batch_that_has_ended_has_answers_where_it_is_itself() -> None:
    ended, running = batch(), batch(processing_status="canceling", results_url=None)

    assert (ended.ended, ended.answers, ended.requests) == (True, "messages/batches/msgbatch_1/results", 6)
    assert (ended.made, ended.output_file_id, ended.input_file_id, ended.created_s) == ((), None, "", 1795341600.5)
    assert (running.ended, running.answers, running.status) == (False, "", "canceling")


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({"succeeded": 1, "expired": 9}, "completed"),
        ({"expired": 2, "canceled": 1}, "expired"),
        ({"canceled": 2, "errored": 1}, "cancelled"),
        ({"errored": 2}, "failed"),
    ],
)
def test_how_it_ended_is_said_in_one_word(counts: dict[str, int], status: str) -> None:
    assert batch(request_counts=counts).status == status


@pytest.mark.parametrize("read", [stored.file_object, stored.batch_object, stored.batch_page, stored.at_the_gateway])
@pytest.mark.parametrize("body", [b"", b"[]", b'{"id": 5, "results_url": "x"}', b"\xff"])
def test_what_is_none_is_an_invalid_response(read: Any, body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        read(body)


def test_a_page_says_whether_there_are_more() -> None:
    rows, more = stored.batch_page(json.dumps({"data": [BATCH], "has_more": True}).encode())

    assert ([it.id for it in rows], more) == (["msgbatch_1"], True)


def test_a_file_may_end() -> None:
    told = stored.file_object(b'{"id": "file_1", "type": "file", "expires_at": "2026-11-22T10:00:00Z"}')

    assert (told.expires_s, stored.file_object(b'{"id": "f"}').expires_s) == (1795341600.0, None)


def test_only_what_succeeded_was_answered() -> None:
    answered = stored.answered(b'{"custom_id": "a", "result": {"type": "succeeded", "message": {"usage" : 1}}}')
    expired = stored.answered(b'{"custom_id": "b", "result": {"type": "expired"}}')

    assert answered == Answered(200, b'{"usage" : 1}', "a")
    assert expired == Answered(None, b"", "b")
    assert [stored.answered(it) for it in (b"{", b"[]", b'{"custom_id": "b"}', b"[" * 5000)] == [None] * 4


def test_results_are_where_the_client_has_the_batch_from() -> None:
    told = json.loads(stored.at_the_gateway(json.dumps({**BATCH, "new": [1.0]})))

    assert told == {**BATCH, "new": [1.0], "results_url": "/v1/messages/batches/msgbatch_1/results"}
    whole = json.loads(stored.at_the_gateway(json.dumps(BATCH), "https://host:1"))
    assert whole["results_url"] == "https://host:1/v1/messages/batches/msgbatch_1/results"
    assert json.loads(stored.at_the_gateway('{"id": "m", "results_url": null}')) == {"id": "m", "results_url": None}


def test_what_is_sent_is_made_of_what_was_read() -> None:
    body = b'{"requests": [{"params": {"a": 1}, "custom_id": "x", "params": {"b" : 1.0}, "more": 1}], "own": {"c" : 2}}'

    asked = stored.asking(body)

    (one,) = asked.requests
    assert (one.custom_id, bytes(one.params)) == ("x", b'{"b" : 1.0}')
    assert json.loads(stored.batch_of(asked, [b'{"c" : 3}'])) == {
        "own": {"c": 2},
        "requests": [{"more": 1, "custom_id": "x", "params": {"c": 3}}],
    }


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "JSON object"),
        (b"{}", "'requests' is missing"),
        (b'{"requests": {}}', "must be a list"),
        (b'{"requests": [1]}', "must be a list"),
        (b'{"requests": [{"custom_id": 5, "params": {}}]}', "requests[0].custom_id"),
        (b'{"requests": [{"custom_id": "a", "params": {}}, {"custom_id": "b"}]}', "requests[1].params"),
        (b'{"requests": ' + b"[" * 5000, "JSON object"),
    ],
)
def test_what_is_no_batch_is_said_to_be_none(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        stored.asking(body)

    assert why in str(refused.value)


def test_it_is_asked_about_with_the_clients_headers_and_the_accounts_key() -> None:
    upstream = Upstream(
        provider="anthropic", account="a", vendor=VENDORS["anthropic"], base_url="http://up.invalid/v1", api_key="sk"
    )
    betas = (("anthropic-beta", "one"), ("anthropic-version", "2026-10-21"))

    mine = stored.KEEPING.about("GET", "files/file_1", upstream=upstream, request_id="req_1")
    theirs = stored.KEEPING.about("DELETE", "files/file_1", upstream=upstream, request_id="req_1", headers=betas)

    assert (mine.method, mine.url, mine.headers["anthropic-version"]) == (
        "GET",
        "http://up.invalid/v1/files/file_1",
        "2023-06-01",
    )
    assert (mine.headers["x-api-key"], mine.headers["x-request-id"]) == ("sk", "req_1")
    assert (theirs.method, dict(betas).items() <= theirs.headers.items()) == ("DELETE", True)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T10:00:00.123456Z",
        "2024-02-29T23:59:59+05:30",
        "1970-01-01 00:00:00-00:01",
        "2026-12-31T23:59:59.5-11:00",
    ],
)
def test_a_time_is_what_the_calendar_says(text: str) -> None:
    assert stored.seconds_of(text) == datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("text", [None, "", "2026-11-22", "2026-13-01T00:00:00Z", "2026-11-22T10:00:00", "x" * 9999])
def test_what_is_no_time_is_none(text: str | None) -> None:
    assert stored.seconds_of(text) is None


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.text(max_size=5), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)
REQUESTS = st.lists(st.dictionaries(st.sampled_from(["custom_id", "params", "x"]), VALUES, max_size=3), max_size=3)


@given(st.dictionaries(st.sampled_from(["requests", "provider", "y"]), st.one_of(REQUESTS, VALUES), max_size=3), st.booleans())
def test_whatever_is_asked_comes_out_as_it_was_understood(asked: dict[str, Any], ascii_: bool) -> None:
    body = json.dumps(asked, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")

    try:
        read = stored.asking(body)
    except ValueError:
        return

    again = json.loads(stored.batch_of(read, [bytes(it.params) for it in read.requests]))
    assert again == asked
    assert [it.custom_id for it in read.requests] == [it["custom_id"] for it in asked["requests"]]


@given(st.binary(max_size=60))
def test_no_bytes_are_more_than_wrong(body: bytes) -> None:
    for line in (body, b'{"requests": ' + body, b'{"requests": [{"custom_id": "a", "params": ' + body):
        with suppress(ValueError):
            stored.asking(line)
        stored.answered(line)
