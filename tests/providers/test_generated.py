"""Whatever the canonical form says, in each protocol it is written and read again as it was: requests, answers, streams.

What one protocol has and another has not is in its own tests; here is what all have in common.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.canonical import (
    Choice,
    Delta,
    Ended,
    Event,
    Finished,
    Function,
    Message,
    NativeEvent,
    Part,
    PartStarted,
    PartStopped,
    Request,
    Response,
    Started,
    Text,
    ToolCall,
    ToolResult,
    UsageSeen,
)
from providers.protocol import Ability, Told
from providers.usage import Usage, semantics_of
from proxy.caching.forms import response_of
from tests.fuzz.targets import CHATS, codec

EXAMPLES = settings(max_examples=15, deadline=None)
TOLD = Told(model="m", created_s=1, id="request")
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(lambda it: bool(it.strip()))
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.sampled_from((2**53 + 1, -(2**63), 2**64, 10**30)),
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS,
    st.sampled_from(("", "\u2028", "\x85", "\ufffd", "\U0001f600", '"\\')),
)
NESTED = st.recursive(PLAIN, lambda it: st.lists(it, max_size=2) | st.dictionaries(WORDS, it, max_size=2), max_leaves=4)
VALUES = st.dictionaries(st.just("") | WORDS, NESTED, max_size=3)
NAMES = st.text("abcXY_09", min_size=1, max_size=12).map(lambda it: "f" + it)
TURNS = st.lists(st.tuples(WORDS, WORDS, st.lists(st.tuples(NAMES, VALUES, WORDS), max_size=3)), min_size=1, max_size=3)
TOOLS = st.lists(st.tuples(NAMES, WORDS), max_size=3, unique_by=lambda it: it[0])


def conversation(turns: list[tuple[str, str, list[tuple[str, Any, str]]]]) -> tuple[Message, ...]:
    """Turns of a user, a model that may call tools, and what these gave; the user has the last word."""
    said: list[Message] = []
    for number, (asked, answered, called) in enumerate(turns):
        names = [f"call_{number}_{at}" for at in range(len(called))]
        calls = [
            ToolCall(id=it, name=name, arguments=json.dumps(value)) for it, (name, value, _) in zip(names, called, strict=True)
        ]
        said.append(Message(role="user", parts=(Text(text=asked),)))
        said.append(Message(role="assistant", parts=(Text(text=answered), *calls)))
        said += [
            Message(role="tool", parts=(ToolResult(id=it, name=name, content=(Text(text=gave),)),))
            for it, (name, _, gave) in zip(names, called, strict=True)
        ]
    return (*said, Message(role="user", parts=(Text(text="go on"),)))


def spoken(parts: list[Part]) -> list[Any]:
    """What parts say, whatever they are besides; neighbouring texts are one."""
    found: list[Any] = []
    for part in parts:
        match part:
            case Text() if found and isinstance(found[-1], str):
                found[-1] += part.text
            case Text():
                found.append(part.text)
            case ToolCall():
                found.append((part.name, json.loads(part.arguments or "{}")))
            case ToolResult():
                found.append(("result", "".join(it.text for it in part.content if isinstance(it, Text))))
            case _:
                found.append(part)
    return found


def asks(request: Request) -> Any:
    said = [("user" if it.role == "tool" else it.role, spoken([part])) for it in request.messages for part in it.parts]
    tools = [(it.name, it.description, it.parameters) for it in request.tools if isinstance(it, Function)]
    return said, tools, request.output_max, request.temperature, request.top_p


@pytest.mark.parametrize("name", CHATS)
@EXAMPLES
@given(turns=TURNS, tools=TOOLS, temperature=st.none() | st.just(0.5), top_p=st.none() | st.just(0.25))
def test_a_request_comes_back_as_it_was(
    name: str, turns: Any, tools: Any, temperature: float | None, top_p: float | None
) -> None:
    spoken_here = codec(CHATS[name][0])
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    request = Request(
        family=spoken_here.family,
        model="m",
        messages=conversation(turns),
        tools=tuple(Function(name=tool, description=said, parameters=schema) for tool, said in tools),
        output_max=99,
        temperature=temperature,
        top_p=top_p,
    )

    body = json.loads(json.dumps(spoken_here.encode_request(request, Ability())))
    again = spoken_here.decode_request(body, "m", False)

    assert asks(again) == asks(request)


ANSWERS = st.tuples(st.lists(WORDS, max_size=1), st.lists(st.tuples(NAMES, VALUES), max_size=3)).filter(
    lambda it: bool(it[0] or it[1])
)


def parts_of(answer: tuple[list[str], list[tuple[str, Any]]]) -> tuple[Part, ...]:
    texts, calls = answer
    return (
        *(Text(text=it) for it in texts),
        *(ToolCall(id=f"call_{at}", name=name, arguments=json.dumps(value)) for at, (name, value) in enumerate(calls)),
    )


@pytest.mark.parametrize("name", CHATS)
@EXAMPLES
@given(answer=ANSWERS, tokens=st.tuples(st.integers(1, 9_999), st.integers(1, 9_999)))
def test_an_answer_comes_back_as_it_was(name: str, answer: Any, tokens: tuple[int, int]) -> None:
    endpoint, vendor = CHATS[name]
    here, parts = codec(endpoint), parts_of(answer)
    finish: Any = "tool_calls" if answer[1] else "stop"
    usage = Usage(input_uncached=tokens[0], output_text=tokens[1])
    response = Response(family="bedrock" if name == "cohere" else "cohere", id="a", model="m", usage=usage,
                        choices=(Choice(parts=parts, finish=finish),))  # fmt: skip

    again = here.decode_answer(here.encode_answer(response, TOLD), semantics_of(vendor, endpoint))

    assert spoken(list(again.choices[0].parts)) == spoken(list(parts))
    assert again.choices[0].finish == finish
    assert again.usage is not None and (again.usage.input_tokens, again.usage.output_tokens) == tokens


@pytest.mark.parametrize("name", CHATS)
@EXAMPLES
@given(answer=ANSWERS, tokens=st.tuples(st.integers(1, 9_999), st.integers(1, 9_999)), size=st.integers(1, 9))
def test_a_stream_comes_back_as_it_was(name: str, answer: Any, tokens: tuple[int, int], size: int) -> None:
    endpoint, vendor = CHATS[name]
    here, parts = codec(endpoint), parts_of(answer)
    finish: Any = "tool_calls" if answer[1] else "stop"
    events: list[Event] = [Started(family="bedrock" if name == "cohere" else "cohere", id="a", model="m")]
    for index, part in enumerate(parts):
        if isinstance(part, ToolCall):
            text = part.arguments
            events.append(PartStarted(index=index, part=ToolCall(id=part.id, name=part.name, arguments="")))
            events += [Delta(index=index, arguments=text[at : at + size]) for at in range(0, len(text), size)]
        elif isinstance(part, Text):
            events.append(PartStarted(index=index, part=Text(text="")))
            events += [Delta(index=index, text=part.text[at : at + size]) for at in range(0, len(part.text), size)]
        events.append(PartStopped(index=index))
    usage = Usage(input_uncached=tokens[0], output_text=tokens[1])
    events += [Finished(finish=finish), UsageSeen(usage=usage, raw=b""), Ended()]

    encoder, decoder = here.encoder(TOLD), here.decoder(semantics_of(vendor, endpoint))
    sent = b"".join(encoder.feed(it) for it in events)
    # Bedrock says how long it took, in an event of its own.
    heard = [it for it in (*decoder.feed(sent), *decoder.finish()) if not isinstance(it, NativeEvent)]
    again = response_of(heard)

    assert spoken(list(again.choices[0].parts)) == spoken(list(parts))
    assert again.choices[0].finish == finish
    assert again.usage is not None and (again.usage.input_tokens, again.usage.output_tokens) == tokens
