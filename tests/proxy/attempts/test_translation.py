"""What a client asks in one protocol, said to an upstream in another, and its answer back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.records import Bounds
from providers.canonical import Ended, Finished, ReasoningAsk
from providers.errors import InvalidResponse, RefusedInBody
from providers.openai.vendors import CUSTOMS, VENDORS
from providers.protocol import Told
from providers.provider import Endpoint, Vendor
from providers.usage import semantics_of
from proxy.api.gate import admit
from proxy.attempts.translation import Translated, Translation, abilities, codec_of, whole
from proxy.call import Call, Deployment, Tier
from proxy.errors import InvalidRequest
from tests.proxy.samples import call, deployment

CLAUDE = deployment("anthropic/claude", vendor=VENDORS["anthropic"])
GEMINI = deployment("gemini/flash", vendor=VENDORS["gemini"])
GPT = deployment("acme/gpt")
HELLO = [{"role": "user", "content": "hello"}]
TOLD = Told(model="m", created_s=1)


def asking(**fields: Any) -> Call:
    return call("smart", fields={"messages": HELLO, **fields})


def sent(asked: Call, to: Deployment, endpoint: Endpoint) -> Any:
    return json.loads(Translation().body(asked, to, endpoint))


def test_a_chat_is_said_to_an_upstream_in_its_words() -> None:
    asked = asking(max_tokens=9, stop="x")

    assert sent(asked, CLAUDE, "messages") == {
        "model": "claude",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 9,
        "stop_sequences": ["x"],
        "stream": False,
    }
    assert sent(asked, GEMINI, "generateContent") == {
        "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
        "generationConfig": {"maxOutputTokens": 9, "stopSequences": ["x"]},
    }


def test_a_bound_is_said_where_it_has_to_be_and_is_the_models_own_if_a_list_has_it() -> None:
    known = Translation(abilities(lambda *_: Bounds(output_tokens=64_000)))

    assert sent(asking(), CLAUDE, "messages")["max_tokens"] == VENDORS["anthropic"].output_max
    assert json.loads(known.body(asking(), CLAUDE, "messages"))["max_tokens"] == 64_000


@pytest.mark.parametrize(("wanted", "expected"), [(100, 100), (64_000, 1_000)])
def test_a_bound_is_no_higher_than_the_model_can_reach(wanted: int, expected: int) -> None:
    known = Translation(abilities(lambda *_: Bounds(output_tokens=1_000)))

    body = json.loads(known.body(asking(max_tokens=wanted), GEMINI, "generateContent"))

    assert body["generationConfig"]["maxOutputTokens"] == expected


def test_who_cannot_think_is_not_told_how_much_to() -> None:
    plain = Translation(abilities(lambda *_: Bounds(reasoning=False)))
    asked = asking(reasoning_effort="high")

    assert "thinkingConfig" in sent(asked, GEMINI, "generateContent")["generationConfig"]
    assert "generationConfig" not in json.loads(plain.body(asked, GEMINI, "generateContent"))


def test_a_body_is_made_once() -> None:
    asked = asking()
    translation = Translation()

    first = translation.body(asked, CLAUDE, "messages")

    assert translation.body(asked, CLAUDE, "messages") is first


def test_a_call_with_another_body_asks_something_else() -> None:
    asked = asking()
    sent(asked, CLAUDE, "messages")
    body = json.dumps({"model": "smart", "messages": [{"role": "user", "content": "bye"}]}).encode()

    later = replace(asked, body=body, head=admit(body))

    assert sent(later, CLAUDE, "messages")["messages"][0]["content"] == "bye"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"web_search_options": {"x": 1}}, "web_search_options"),
        ({"something_new": 1}, "something_new"),
        ({"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "u"}}]}]}, "messages[0]"),
        ({"messages": 7}, "messages"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_what_cannot_be_said_is_refused_by_the_name_of_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Translation().body(asking(**fields), CLAUDE, "messages")

    assert caught.value.param == param
    assert f"'{param}'" in caught.value.message


@pytest.mark.parametrize(
    "fields",
    [{"store": True}, {"safety_identifier": "x"}, {"verbosity": "low"}, {"logit_bias": {}}, {"audio": None}, {"store": False}],
)
def test_what_makes_no_difference_there_is_dropped(fields: dict[str, Any]) -> None:
    assert sent(asking(**fields), CLAUDE, "messages") == sent(asking(), CLAUDE, "messages")


@pytest.mark.parametrize(
    "message",
    [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "document_url", "document_url": "https://a.example"}],
        },
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "something_new", "value": 1}]},
    ],
)
def test_what_is_asked_in_a_part_that_nobody_else_knows_is_refused(message: dict[str, Any]) -> None:
    asked = asking(messages=[*HELLO, message])

    with pytest.raises(InvalidRequest, match=message["content"][-1]["type"]) as refused:
        Translation().body(asked, GEMINI, "generateContent")

    assert refused.value.param == "messages[1]"


def test_what_a_providers_own_tools_did_before_is_left_out() -> None:
    answer = {"role": "assistant", "content": [{"type": "something_run", "value": 1}, {"type": "text", "text": "b"}]}

    body = sent(asking(messages=[*HELLO, answer, *HELLO]), GEMINI, "generateContent")

    assert [it["parts"] for it in body["contents"]] == [[{"text": "hello"}], [{"text": "b"}], [{"text": "hello"}]]


def tier(*deployments: Deployment, name: str = "smart") -> Tier:
    return Tier(name=name, deployments=deployments)


def test_who_cannot_say_it_is_left_out_while_somebody_can() -> None:
    tiers = (tier(CLAUDE, GEMINI), tier(CLAUDE), tier(GPT))

    kept = Translation().expressible(asking(logprobs=True), tiers)

    assert kept == (tier(GEMINI), tier(GPT))


def test_where_nobody_can_say_it_the_field_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        Translation().expressible(asking(n=2), (tier(CLAUDE), replace(tier(GPT), detour="context")))

    assert caught.value.param == "n"


def test_who_speaks_the_clients_protocol_judges_for_itself() -> None:
    tiers = (tier(GPT),)

    assert Translation().expressible(asking(messages=7), tiers) is tiers


def test_who_does_not_serve_the_endpoint_is_not_asked_what_it_could_say() -> None:
    tiers = (tier(CLAUDE),)

    assert Translation().expressible(call("smart", endpoint="embeddings"), tiers) is tiers


# --- answers -----------------------------------------------------------------------------------------------------------

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "model": "claude-9",
    "role": "assistant",
    "content": [{"type": "text", "text": "hi \ud83d"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def test_a_whole_answer_is_told_in_the_clients_words_and_metered_in_the_providers() -> None:
    body = json.dumps(MESSAGE).encode()
    semantics = semantics_of("anthropic", "messages")

    answer, told = whole(body, upstream="messages", client="chat/completions", semantics=semantics, told=TOLD)

    read = json.loads(told)
    assert (read["model"], read["choices"][0]["finish_reason"]) == ("claude-9", "stop")
    # Half of a character is no character.
    assert read["choices"][0]["message"]["content"] == "hi �"
    assert answer.model == "claude-9"
    assert answer.usage is not None and (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 2)
    assert json.loads(answer.usage_raw) == MESSAGE["usage"]


def test_an_error_inside_of_a_200_is_an_error() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'

    with pytest.raises(RefusedInBody):
        whole(body, upstream="messages", client="chat/completions", semantics=semantics_of("a", "messages"), told=TOLD)


# --- streams -----------------------------------------------------------------------------------------------------------


def event(**said: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (said["type"].encode(), json.dumps(said).encode())


START = event(
    type="message_start", message={"id": "msg_1", "model": "claude-9", "usage": {"input_tokens": 3, "output_tokens": 1}}
)
OPEN = event(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
TEXT = event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
CLOSE = event(type="content_block_stop", index=0)
FINISH = event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
STOP = event(type="message_stop")


def reader(client: Endpoint = "chat/completions", vendor: Vendor = CUSTOMS["anthropic"]) -> Translated:
    decoder = codec_of("messages").decoder(semantics_of(vendor.name, "messages"))
    return Translated(decoder, codec_of(client).encoder, TOLD)


def test_a_piece_is_told_as_soon_as_it_comes_and_the_end_is_held_back() -> None:
    it = reader()

    passed = [it.feed(piece) for piece in (START, OPEN, TEXT, CLOSE, FINISH, STOP)]

    assert b'"content":"hi"' in passed[2]
    assert b'"finish_reason":"stop"' in passed[4]
    assert passed[5] == b""
    assert it.done and it.finish()
    assert it.closing.endswith(b"data: [DONE]\n\n")
    assert (it.model, it.finished, it.output_tokens) == ("claude-9", True, 1)
    assert it.usage is not None and (it.usage.input_tokens, it.usage.output_tokens) == (3, 2)


def test_before_the_end_nobody_knows_the_usage() -> None:
    it = reader()

    it.feed(START + OPEN + TEXT)

    assert it.usage is None
    assert not it.finish()


def test_a_stream_that_is_cut_off_has_the_usage_that_its_last_event_told() -> None:
    decoder = codec_of("generateContent").decoder(semantics_of("gemini", "generateContent"))
    it = Translated(decoder, codec_of("messages").encoder, TOLD)

    for count in (1, 2, 3):
        usage = {"promptTokenCount": 3, "candidatesTokenCount": count}
        said = {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": usage}
        it.feed(b"data: " + json.dumps(said).encode() + b"\r\n\r\n")

    assert not it.finish()
    assert it.usage is not None and (it.usage.input_tokens, it.usage.output_tokens) == (3, 3)
    assert json.loads(it.usage_raw) == {"promptTokenCount": 3, "candidatesTokenCount": 3}


def test_an_end_that_is_missing_is_made_in_the_clients_words() -> None:
    it = reader("generateContent")
    it.feed(START + OPEN + TEXT + CLOSE + FINISH)

    assert not it.finish()
    it.complete()

    last = json.loads(it.closing.removeprefix(b"data: "))
    assert last["candidates"][0]["finishReason"] == "STOP"


def test_an_error_event_ends_it_and_is_not_passed_on() -> None:
    it = reader()

    passed = it.feed(START + OPEN + TEXT + event(type="error", error={"type": "overloaded_error", "message": "busy"}) + TEXT)

    assert passed.count(b'"content":"hi"') == 1
    assert it.done and it.closing == b""
    assert it.error is not None and it.error.message == "busy"


@pytest.mark.parametrize("client", ["chat/completions", "responses", "messages", "generateContent"])
def test_an_end_without_a_reason_is_an_end_to_every_client(client: Endpoint) -> None:
    it = reader(client)

    passed = it.feed(START + OPEN + TEXT + CLOSE + STOP)
    decoder = codec_of(client).decoder(semantics_of("openai", client))
    events = [*decoder.feed(passed + it.closing), *decoder.finish()]

    assert it.done and it.finish()
    assert [e.finish for e in events if isinstance(e, Finished)] == ["stop"]
    assert isinstance(events[-1], Ended)


def test_a_stream_that_begins_again_begins_once_for_its_client() -> None:
    it = reader("messages")

    passed = it.feed(START + OPEN + TEXT + CLOSE + START + FINISH + STOP)

    assert passed.count(b"event: message_start") == 1


@pytest.mark.parametrize("client", ["chat/completions", "responses", "messages", "generateContent"])
def test_a_number_where_a_text_should_be_is_an_invalid_response(client: Endpoint) -> None:
    it = reader(client)

    with pytest.raises(InvalidResponse):
        it.feed(START + OPEN + event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": 7}))


# --- the suffix of a model's name ------------------------------------------------------------------------------------------

HIGH = ReasoningAsk(effort="high", suffixed=True)


def test_a_suffix_goes_before_what_the_body_says_in_every_protocol() -> None:
    asked = replace(asking(reasoning_effort="low", max_tokens=64_000, temperature=0.5), thinking=HIGH)

    assert sent(asked, GPT, "chat/completions")["reasoning_effort"] == "high"
    assert sent(asked, GPT, "responses")["reasoning"] == {"effort": "high"}
    assert sent(asked, CLAUDE, "messages")["thinking"] == {"type": "enabled", "budget_tokens": 24_576}
    config = sent(asked, GEMINI, "generateContent")["generationConfig"]
    assert config["thinkingConfig"] == {"includeThoughts": True, "thinkingBudget": 24_576}


def test_a_suffix_is_moved_to_what_the_model_takes() -> None:
    known = Translation(abilities(lambda *_: Bounds(efforts=("low", "medium"), adaptive=True)))
    asked = replace(asking(), thinking=HIGH)

    assert json.loads(known.body(asked, GPT, "chat/completions"))["reasoning_effort"] == "medium"
    assert json.loads(known.body(asked, CLAUDE, "messages"))["output_config"] == {"effort": "medium"}


def test_a_request_with_a_suffix_keeps_what_only_its_own_protocol_says() -> None:
    asked = replace(asking(logit_bias={"1": 2}, cache={"no-store": True}), thinking=HIGH)

    body = sent(asked, GPT, "chat/completions")

    assert body["logit_bias"] == {"1": 2}
    assert "cache" not in body
    with pytest.raises(InvalidRequest, match="logit_bias"):
        sent(asked, CLAUDE, "messages")
