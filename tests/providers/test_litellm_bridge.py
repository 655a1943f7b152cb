"""What litellm is asked, and what its answers and errors mean: without litellm, which ``test_bridge.py`` has."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from providers.litellm_bridge import CHAT, Account, Deltas, Start, Unknown, asked, is_broken, refusal, usage_of, whole

ACCOUNT = Account(provider="watsonx", timeout_s=30, api_key="k-0123456789", settings={"project_id": "p"})
SAID = {"model": "granite", "messages": [{"role": "user", "content": "hi"}]}


class ForeignError(Exception):
    """As litellm's look: a status, and a text with much around what the provider said."""

    def __init__(self, message: str, status_code: int | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        if status_code is not None:
            self.status_code = status_code
        if headers is not None:
            self.litellm_response_headers = headers


class ContextWindowExceededError(ForeignError):
    """Found by its name, as litellm's own is."""


# --- what is asked -------------------------------------------------------------------------------------------------------


def test_a_request_is_asked_once_with_the_accounts_credentials() -> None:
    made = asked(ACCOUNT, {**SAID, "temperature": 0.5, "user": "u", "store": False}, CHAT, ())

    assert made == {
        "model": "watsonx/granite",
        "messages": SAID["messages"],
        "temperature": 0.5,
        "project_id": "p",
        "api_key": "k-0123456789",
        "timeout": 30,
        "max_retries": 0,
        "num_retries": 0,
    }


def test_a_stream_always_reports_what_it_used() -> None:
    made = asked(ACCOUNT, {**SAID, "stream": True}, CHAT, ())

    assert (made["stream"], made["stream_options"]) == (True, {"include_usage": True})


def test_a_field_that_is_not_openais_is_refused_unless_it_says_nothing() -> None:
    with pytest.raises(Unknown, match="api_base"):
        asked(ACCOUNT, {**SAID, "api_base": "http://elsewhere.invalid"}, CHAT, ())

    assert "thinking" not in asked(ACCOUNT, {**SAID, "thinking": None}, CHAT, ())


def test_only_functions_are_tools() -> None:
    function = {"type": "function", "function": {"name": "f"}}

    made = asked(ACCOUNT, {**SAID, "tools": [function]}, CHAT, ())

    assert made["tools"] == [function]
    with pytest.raises(Unknown, match=r"tools\[1\]"):
        asked(ACCOUNT, {**SAID, "tools": [function, {"type": "mcp", "server_url": "http://10.0.0.1/"}]}, CHAT, ())


def test_a_client_cannot_replace_what_the_account_says() -> None:
    account = msgspec.structs.replace(ACCOUNT, settings={"temperature": "0.1", "project_id": "p"})

    made = asked(account, {**SAID, "model": "openai/gpt"}, CHAT, ())

    assert made["model"] == "watsonx/openai/gpt"
    assert made["project_id"] == "p"


@pytest.mark.parametrize(
    ("supported", "name"),
    [
        (("max_tokens",), "max_tokens"),
        (("max_tokens", "max_completion_tokens"), "max_completion_tokens"),
        ((), "max_completion_tokens"),
    ],
)
def test_the_bound_has_the_name_that_the_provider_knows(supported: tuple[str, ...], name: str) -> None:
    made = asked(ACCOUNT, {**SAID, "max_completion_tokens": 9}, CHAT, supported)

    assert {key: value for key, value in made.items() if value == 9} == {name: 9}


def test_parallel_calls_are_only_said_where_they_are_not_wanted() -> None:
    assert "parallel_tool_calls" not in asked(ACCOUNT, {**SAID, "parallel_tool_calls": True}, CHAT, ())
    assert asked(ACCOUNT, {**SAID, "parallel_tool_calls": False}, CHAT, ())["parallel_tool_calls"] is False


def test_nothing_shows_a_key() -> None:
    start = Start(token="t-0123456789", accounts=(ACCOUNT,))

    assert "0123456789" not in repr(start) + repr(ACCOUNT)


# --- what is answered ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [None, {}, {"prompt_tokens": 0, "completion_tokens": 12, "total_tokens": 12}])
def test_usage_without_a_prompt_is_nobodys(said: dict[str, int] | None) -> None:
    assert usage_of(said) is None


def test_usage_is_in_openais_words() -> None:
    usage = usage_of(
        {
            "prompt_tokens": 11,
            "completion_tokens": 4,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 3, "cache_creation_tokens": 2, "text_tokens": None},
            "completion_tokens_details": {"reasoning_tokens": 0, "text_tokens": 4},
            "cache_read_input_tokens": 3,
        }
    )

    assert usage == {
        "prompt_tokens": 11,
        "completion_tokens": 4,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
    }


def test_a_message_has_what_openais_have_and_the_thoughts() -> None:
    message = {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "b",
        "thinking_blocks": [{}],
        "provider_specific_fields": {},
    }

    answer = whole({"id": "i", "created": 1, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}, "m")

    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "a", "reasoning_content": "b"}
    assert "usage" not in answer


def test_tool_calls_are_counted_from_0_in_the_order_in_which_they_begin() -> None:
    deltas = Deltas()

    def said(index: int) -> int:
        piece = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "function": {"arguments": "{"}}]}}]}
        place: int = deltas(piece)[0]["delta"]["tool_calls"][0]["index"]
        return place

    assert [said(it) for it in (1, 1, 3, 3, 1)] == [0, 0, 1, 1, 0]


def test_a_piece_that_says_nothing_is_not_sent() -> None:
    assert Deltas()({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}) == []


# --- what goes wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "code"),
    [
        ('litellm.RateLimitError: DatabricksException - {"error_code":"LIMIT","message":"slow"}', "slow", "LIMIT"),
        ('litellm.APIError: APIError: WatsonxException - {"errors":[{"code":"c","message":"m"}],"trace":"t"}', "m", "c"),
        ('litellm.BadRequestError: XException - {"error":{"message":"m","code":7}}', "m", None),
        ("litellm.Timeout: it took long", "it took long", None),
        ("no words of litellm's {", "no words of litellm's {", None),
        ("x does not support parameters: ['seed']. To drop these, set", "x does not support parameters: ['seed'].", None),
    ],
)
def test_the_providers_own_words_are_told(text: str, message: str, code: str | None) -> None:
    status, body, _ = refusal(ForeignError(text, 429), ())

    assert (status, body["error"]["message"], body["error"]["code"]) == (429, message, code)


def test_a_key_in_an_error_is_not_told() -> None:
    _, body, _ = refusal(ForeignError("the key k-0123456789 is wrong", 401), ("k-0123456789",))

    assert body["error"]["message"] == "the key *** is wrong"


def test_an_error_without_a_status_is_the_gateways_upstreams() -> None:
    assert refusal(ValueError("no account_id"), ())[0] == 502
    assert refusal(ForeignError("odd", 200), ())[0] == 502


def test_a_context_that_is_too_small_has_openais_code() -> None:
    _, body, _ = refusal(ContextWindowExceededError("too long", 400), ())

    assert body["error"]["code"] == "context_length_exceeded"


def test_when_to_ask_again_is_passed_on_and_nothing_else() -> None:
    headers = {"Retry-After": "7", "llm_provider-x-ratelimit-reset-tokens": "2s", "set-cookie": "a", "x-odd": "b"}

    _, _, told = refusal(ForeignError("slow", 429, headers), ())

    assert told == {"retry-after": "7", "x-ratelimit-reset-tokens": "2s"}


def caused(cause: Exception) -> Exception:
    error = ForeignError("litellm.APIConnectionError: x", 500)
    error.__cause__ = cause
    return error


def test_it_is_known_what_nobody_knows_the_end_of() -> None:
    assert is_broken(caused(httpx.ReadTimeout("")))
    assert is_broken(caused(httpx.RemoteProtocolError("")))
    assert not is_broken(caused(httpx.ConnectError("")))
    assert not is_broken(caused(ValueError("")))
    assert refusal(caused(httpx.ConnectError("")), ())[0] == 502
