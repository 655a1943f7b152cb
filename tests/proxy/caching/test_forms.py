"""Answers in Anthropic's and Gemini's protocols in their other form: on recorded traffic nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.canonical import (
    Choice,
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    NativeEvent,
    PartStarted,
    Response,
    Started,
    Text,
)
from providers.errors import ErrorBody
from providers.provider import Endpoint
from proxy.caching.entry import Entry, Form
from proxy.caching.forms import Unfaithful, events_of, response_of
from proxy.caching.replay import as_asked
from proxy.call import Origin
from tests.providers import test_anthropic as anthropic
from tests.providers import test_gemini as gemini
from tests.recordings import Recording

NOBODY = Origin(provider="acme", model="m", answered_model="m", at_us=0)
WHOLE: list[tuple[Endpoint, Recording]] = [
    *(("messages", it) for it in anthropic.WHOLE),
    *(("generateContent", it) for it in gemini.WHOLE),
]
STREAMS: list[tuple[Endpoint, Recording]] = [
    *(("messages", it) for it in anthropic.STREAMS),
    *(("generateContent", it) for it in gemini.STREAMS),
]


def kept(body: bytes, form: Form) -> Entry:
    return Entry(made_us=0, form=form, content_type=b"", body=body, origin=NOBODY)


def other(entry: Entry, endpoint: Endpoint) -> Entry:
    return as_asked(entry, endpoint, "whole" if entry.form == "stream" else "stream", shows_usage=False)


def said(endpoint: Endpoint, body: bytes) -> Any:
    value = json.loads(body)
    # No event says when it was made.
    value.pop("createTime", None)
    return anthropic.said(value) if endpoint == "messages" else gemini.said(value)


def heard(endpoint: Endpoint, body: bytes) -> Any:
    return anthropic.said(anthropic.heard(body)) if endpoint == "messages" else gemini.heard(body)


def test_every_recorded_answer_is_the_same_as_a_stream_and_as_a_whole_again() -> None:
    lost = []
    for endpoint, recording in WHOLE:
        streamed = other(kept(recording.body, "whole"), endpoint)
        again = other(streamed, endpoint)
        if said(endpoint, again.body) != said(endpoint, recording.body):
            lost.append(recording.id)
        if endpoint == "messages" and heard(endpoint, streamed.body + streamed.closing) != said(endpoint, recording.body):
            lost.append(f"{recording.id} as a stream")

    assert len(WHOLE) > 300
    assert lost == []


def test_every_recorded_stream_is_the_same_as_a_whole_and_as_a_stream_again() -> None:
    lost = []
    for endpoint, recording in STREAMS:
        whole = other(kept(recording.body, "stream"), endpoint)
        again = other(whole, endpoint)
        if heard(endpoint, again.body + again.closing) != heard(endpoint, recording.body):
            lost.append(recording.id)
        if endpoint == "messages" and said(endpoint, whole.body) != heard(endpoint, recording.body):
            lost.append(f"{recording.id} as a whole")

    assert len(STREAMS) > 10
    assert lost == []


def test_the_other_form_has_its_own_content_type_and_a_last_event() -> None:
    endpoint, recording = WHOLE[0]

    streamed = other(kept(recording.body, "whole"), endpoint)
    whole = other(streamed, endpoint)

    assert (streamed.form, streamed.content_type) == ("stream", b"text/event-stream; charset=utf-8")
    assert streamed.closing.endswith(b'data: {"type":"message_stop"}\n\n')
    assert (whole.form, whole.content_type, whole.closing) == ("whole", b"application/json", b"")


@pytest.mark.parametrize("endpoint", ["messages", "generateContent"])
@pytest.mark.parametrize(("body", "form"), [(b"{}", "whole"), (b"[]", "whole"), (b"data: {}\n\n", "stream"), (b"", "stream")])
def test_what_is_no_answer_has_no_other_form(endpoint: Endpoint, body: bytes, form: Form) -> None:
    with pytest.raises(Unfaithful):
        other(kept(body, form), endpoint)


BEGUN: list[Event] = [Started(family="anthropic", id="a", model="m"), PartStarted(index=0, part=Text(text=""))]
END: list[Event] = [Finished(finish="stop", native_finish="end_turn"), Ended()]


@pytest.mark.parametrize(
    "events",
    [
        END,
        [*BEGUN, END[0]],
        [*BEGUN, END[1]],
        [*BEGUN, Failed(error=ErrorBody(message="busy"))],
        [*BEGUN, NativeEvent(family="anthropic", value={"type": "new"}), *END],
        [*BEGUN, Delta(index=0, signature="a"), Delta(index=0, signature="b"), *END],
        [*BEGUN, Delta(index=0, text="a", logprobs={}), *END],
    ],
)
def test_a_stream_that_no_whole_answer_says_is_asked_for_anew(events: list[Event]) -> None:
    with pytest.raises(Unfaithful):
        response_of(events)


@pytest.mark.parametrize(
    "answer",
    [
        Response(family="gemini", id="a", model="m", choices=(), extra={"modelStatus": {"stage": "x"}}),
        Response(
            family="gemini", id="a", model="m", choices=(Choice(parts=(Text(text="a", extra={"new": 1}),), finish="stop"),)
        ),
    ],
)
def test_an_answer_that_no_stream_says_is_asked_for_anew(answer: Response) -> None:
    with pytest.raises(Unfaithful):
        list(events_of(answer))
