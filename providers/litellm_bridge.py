"""litellm behind OpenAI's protocol, as a program: ``litellm_bridge.py LOAD_S``, run by ``providers/bridge.py``.

The first line on stdin is JSON: the token that requests must carry, and the accounts.  One line goes to stdout:
``ready http://127.0.0.1:PORT`` or ``failed REASON``.  It serves ``POST /N/chat/completions`` and ``POST /N/embeddings``
of the N-th account, and ends when stdin ends.

litellm is imported here and nowhere else.  It is told nothing but what OpenAI's protocol has: a client could otherwise
name another address, other keys or a file.  What it would do besides one request is off: retries, fallbacks, caches,
callbacks, guesses of what was used, and everything that it fetches by itself.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

import msgspec
import uvicorn

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHAT: Final = frozenset((
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "messages", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "reasoning_effort",
    "response_format", "seed", "stop", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "verbosity",
    "web_search_options",
))  # fmt: skip
"""The fields of a chat that go to litellm, which refuses those that the provider does not take."""
EMBEDDING: Final = frozenset(("dimensions", "input"))
UNSAID: Final = frozenset((
    "encoding_format", "metadata", "model", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "service_tier", "store", "stream", "stream_options", "user",
))  # fmt: skip
"""Those that are seen to here, or without which the answer is still the one that was asked for."""

_CODES: Final = {
    "ContextWindowExceededError": "context_length_exceeded",
    "ContentPolicyViolationError": "content_policy_violation",
}
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_NO_CONNECTION: Final = frozenset(("ConnectError", "ConnectTimeout", "ClientConnectorError", "ConnectionTimeoutError"))
"""Of httpx and aiohttp: nothing was sent."""
_BROKEN: Final = frozenset((
    "CloseError", "IncompleteRead", "PoolTimeout", "ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError",
    "WriteTimeout", "ClientOSError", "ClientPayloadError", "ServerDisconnectedError", "ServerTimeoutError",
    "SocketTimeoutError", "Timeout", "TimeoutError",
))  # fmt: skip
"""Of httpx, aiohttp and litellm: a request was on its way, and nobody knows what became of it."""
_WAITS: Final = re.compile(r"retry-after(-ms)?|(x-ratelimit|anthropic-ratelimit)-[a-z-]*(reset|remaining)[a-z-]*")
_PREFIX: Final = re.compile(r"^(?:litellm\.)?\w*(?:Error|Exception|Timeout)\w*(?::| -)\s*")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What opens a provider.  provider: litellm's name for it.  settings: more of litellm's own arguments."""

    provider: str
    timeout_s: float
    api_key: str = ""
    base_url: str = ""
    settings: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Account({self.provider!r})"


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first line on stdin."""

    token: str
    accounts: tuple[Account, ...]

    def __repr__(self) -> str:
        return f"Start({self.accounts!r})"


class Unknown(Exception):
    """A field that is not for litellm."""


# --- what litellm is asked -----------------------------------------------------------------------------------------------


def asked(account: Account, fields: Mapping[str, Any], takes: frozenset[str], supported: Iterable[str]) -> dict[str, Any]:
    """litellm's arguments for a request in OpenAI's words.  supported: what the model takes.  Raises: Unknown."""
    for name, value in fields.items():
        if name not in takes and name not in UNSAID and value not in (None, False, "", [], {}):
            raise Unknown(name)
    said = {name: fields[name] for name in takes if fields.get(name) is not None}
    for at, tool in enumerate(said.get("tools") or ()):
        # Of some other kinds litellm would go and ask a server that the client names.
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise Unknown(f"tools[{at}]")
    if said.get("parallel_tool_calls") is True:
        # It is what they do.
        del said["parallel_tool_calls"]
    known = frozenset(supported)
    if "max_completion_tokens" in said and "max_completion_tokens" not in known and "max_tokens" in known:
        said["max_tokens"] = said.pop("max_completion_tokens")
    stream = {"stream": True, "stream_options": {"include_usage": True}} if fields.get("stream") else {}
    return {
        **account.settings,
        **said,
        **stream,
        "model": f"{account.provider}/{fields['model']}",
        "timeout": account.timeout_s,
        "max_retries": 0,
        "num_retries": 0,
        **({"api_key": account.api_key} if account.api_key else {}),
        **({"api_base": account.base_url} if account.base_url else {}),
    }


# --- what it answers -----------------------------------------------------------------------------------------------------


def usage_of(said: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The provider's usage in OpenAI's words; ``None`` if it reported none.

    litellm's own counting is off, so what it would have made up is 0, and no request has no tokens.
    """
    if not said or not said.get("prompt_tokens"):
        return None
    usage = {name: said[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens") if said.get(name) is not None}
    prompt = dict(said.get("prompt_tokens_details") or {})
    written = prompt.pop("cache_creation_tokens", None) or said.get("cache_creation_input_tokens")
    read = prompt.get("cached_tokens") or said.get("cache_read_input_tokens")
    details = {"cached_tokens": read, "cache_write_tokens": written, "audio_tokens": prompt.get("audio_tokens")}
    done = said.get("completion_tokens_details") or {}
    thought = {name: done.get(name) for name in ("reasoning_tokens", "audio_tokens")}
    for name, counts in (("prompt_tokens_details", details), ("completion_tokens_details", thought)):
        if known := {key: count for key, count in counts.items() if count}:
            usage[name] = known
    return usage


def whole(answer: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A chat completion as OpenAI has it, of litellm's."""
    usage = usage_of(answer.get("usage"))
    return {
        "id": answer.get("id") or "",
        "object": "chat.completion",
        "created": answer.get("created") or 0,
        "model": model,
        "choices": [_choice(it, "message") for it in answer.get("choices") or ()],
        **({"usage": usage} if usage else {}),
    }


def chunk(answer: Mapping[str, Any], model: str, choices: Sequence[Any], usage: Mapping[str, Any] | None = None) -> bytes:
    """One event of a stream."""
    body = {
        "id": answer.get("id") or "",
        "object": "chat.completion.chunk",
        "created": answer.get("created") or 0,
        "model": model,
        "choices": choices,
        **({"usage": usage} if usage else {}),
    }
    return b"data: %b\n\n" % msgspec.json.encode(body)


_MESSAGE: Final = ("role", "content", "refusal", "reasoning_content", "annotations", "audio", "tool_calls", "function_call")
"""What OpenAI's messages have, and the thoughts as its providers show them."""


def _choice(said: Mapping[str, Any], place: str) -> dict[str, Any]:
    message = said.get(place) or {}
    kept = {name: message[name] for name in _MESSAGE if message.get(name) is not None}
    if place == "message":
        kept.setdefault("content", None)
    choice = {"index": said.get("index") or 0, place: kept, "finish_reason": said.get("finish_reason")}
    return choice if said.get("logprobs") is None else {**choice, "logprobs": said["logprobs"]}


class Deltas:
    """What the pieces of a stream say.  litellm counts tool calls as the provider counts its blocks; here from 0."""

    def __init__(self) -> None:
        self._calls: dict[tuple[int, int], int] = {}
        self._counts: dict[int, int] = {}

    def __call__(self, said: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The choices of a piece that say something."""
        choices = [_choice(it, "delta") for it in said.get("choices") or ()]
        for choice in choices:
            for call in choice["delta"].get("tool_calls") or ():
                call["index"] = self._place(choice["index"], call.get("index") or 0)
        return [it for it in choices if it["delta"] or it["finish_reason"]]

    def _place(self, choice: int, index: int) -> int:
        if (choice, index) not in self._calls:
            self._calls[choice, index] = self._counts.get(choice, 0)
            self._counts[choice] = self._calls[choice, index] + 1
        return self._calls[choice, index]


def vectors(answer: Mapping[str, Any], model: str, *, base64: bool) -> dict[str, Any]:
    """Embeddings as OpenAI has them."""
    usage = usage_of(answer.get("usage")) or {}
    usage.pop("completion_tokens", None)
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(row["embedding"]) if base64 else row["embedding"]}
        for index, row in enumerate(answer.get("data") or ())
    ]
    return {"object": "list", "data": data, "model": model, **({"usage": usage} if usage else {})}


def _packed(vector: Any) -> str:
    if isinstance(vector, str):
        return vector
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


# --- what goes wrong -----------------------------------------------------------------------------------------------------


def is_broken(error: BaseException) -> bool:
    """Whether the provider may have got the request and nobody knows what it did with it."""
    names = [type(it).__name__ for it in _causes(error)]
    return _NO_CONNECTION.isdisjoint(names) and not _BROKEN.isdisjoint(names)


def refusal(error: BaseException, secrets: Iterable[str]) -> tuple[int, dict[str, Any], dict[str, str]]:
    """An error of litellm's in OpenAI's words: status, body, and the headers that say when to ask again.

    By its class and status, which litellm has from the provider's answer.   secrets: what no text may repeat.
    """
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) and 400 <= status <= 599 else 502
    if not _NO_CONNECTION.isdisjoint(type(it).__name__ for it in _causes(error)):
        status = 502
    message, code = _told(str(getattr(error, "message", "") or error))
    for secret in secrets:
        message = message.replace(secret, "***")
    code = next((_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CODES), code)
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, dict(_waits(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _told(text: str) -> tuple[str, str | None]:
    """The provider's own words and its code, out of what litellm put around them."""
    text = text.partition(" To drop these")[0]
    for _ in range(3):
        text = _PREFIX.sub("", text)
    at = text.find("{")
    try:
        said = json.JSONDecoder().raw_decode(text, at)[0] if at >= 0 else None
    except (ValueError, RecursionError):
        said = None
    code = None
    while isinstance(said, dict):
        code = next((it for name in ("code", "error_code") if isinstance(it := said.get(name), str)), code)
        inner = said.get("error") or said.get("errors") or said.get("message") or said.get("detail")
        said = inner[0] if isinstance(inner, list) and inner else inner
    return (said if isinstance(said, str) and said else text)[:2_000], code


def _waits(error: BaseException) -> Iterator[tuple[str, str]]:
    for it in _causes(error):
        for headers in (
            getattr(it, "litellm_response_headers", None),
            getattr(getattr(it, "response", None), "headers", None),
            getattr(it, "headers", None),
        ):
            if isinstance(headers, Mapping):
                for key, value in headers.items():
                    name = str(key).lower().removeprefix("llm_provider-")
                    if _WAITS.fullmatch(name) and str(value).isascii() and str(value).isprintable():
                        yield name, str(value)


# --- the server ----------------------------------------------------------------------------------------------------------


class Bridge:
    """An ASGI application that answers by litellm."""

    def __init__(self, litellm: Any, start: Start) -> None:
        self._litellm = litellm
        self._accounts = start.accounts
        self._opens = f"Bearer {start.token}".encode()
        self._unknown = {it.provider for it in start.accounts if not _knows(litellm, it.provider)}
        self._secrets = tuple(
            value
            for account in start.accounts
            for value in (account.api_key, *account.settings.values())
            if isinstance(value, str) and len(value) >= 8
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; if its client leaves, what is done for it ends."""
        number, _, endpoint = scope["path"].strip("/").partition("/")
        known = number.isdecimal() and int(number) < len(self._accounts) and endpoint in ("chat/completions", "embeddings")
        opens = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(opens, self._opens) or not known or scope["method"] != "POST":
            await _send(send, 404, {"error": {"message": "Nothing is here.", "type": "not_found_error"}})
            return
        fields = msgspec.json.decode(await _body(receive), type=dict[str, Any])
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._answer(self._accounts[int(number)], endpoint, fields, send))
            gone = group.create_task(_gone(receive))
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            work.cancel()

    async def _answer(self, account: Account, endpoint: str, fields: dict[str, Any], send: Send) -> None:
        if account.provider in self._unknown:
            told = f"litellm knows no provider called '{account.provider}'."
            await _send(send, 500, {"error": {"message": told, "type": "api_error", "param": None, "code": None}})
            return
        try:
            await (self._chat if endpoint == "chat/completions" else self._embedding)(account, fields, send)
        except Unknown as error:
            told = f"'{error}' cannot be said to a provider that is reached through litellm."
            refused = {"message": told, "type": "invalid_request_error", "param": str(error), "code": "unsupported_parameter"}
            await _send(send, 400, {"error": refused})
        except Exception as error:
            if is_broken(error):
                # An answer that breaks off: whoever asked knows then that it may cost something.
                await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"1")]})
                return
            status, body, headers = refusal(error, self._secrets)
            await _send(send, status, body, headers)

    async def _embedding(self, account: Account, fields: dict[str, Any], send: Send) -> None:
        answer = await self._litellm.aembedding(**asked(account, fields, EMBEDDING, ()))
        base64 = fields.get("encoding_format") == "base64"
        await _send(send, 200, vectors(answer.model_dump(exclude_none=True), fields["model"], base64=base64))

    async def _chat(self, account: Account, fields: dict[str, Any], send: Send) -> None:
        supported = self._litellm.get_supported_openai_params(model=fields["model"], custom_llm_provider=account.provider)
        answer = await self._litellm.acompletion(**asked(account, fields, CHAT, supported or ()))
        if not fields.get("stream"):
            await _send(send, 200, whole(answer.model_dump(exclude_none=True), fields["model"]))
            return
        try:
            await self._stream(answer, fields, send)
        finally:
            await answer.aclose()

    async def _stream(self, answer: AsyncIterator[Any], fields: dict[str, Any], send: Send) -> None:
        model = fields["model"]
        wants_usage = bool((fields.get("stream_options") or {}).get("include_usage"))
        usage: Mapping[str, Any] | None = None
        last: Mapping[str, Any] = {}
        begun = False
        deltas = Deltas()
        try:
            async for piece in answer:
                last = piece.model_dump(exclude_none=True)
                usage = usage_of(last.get("usage")) or usage
                if not begun:
                    # Not before: providers refuse with a status until here.
                    await _begin(send, 200, b"text/event-stream; charset=utf-8")
                    begun = True
                if said := deltas(last):
                    await _more(send, chunk(last, model, said))
        except Exception as error:
            if not begun:
                raise
            if not is_broken(error):
                await _more(send, b"data: %b\n\n" % msgspec.json.encode(refusal(error, self._secrets)[1]))
            # Not ended: it breaks off.
            return
        if not begun:
            raise ValueError("the provider's stream was empty")
        if wants_usage and usage:
            await _more(send, chunk(last, model, [], usage))
        await _more(send, b"data: [DONE]\n\n", end=True)


def _knows(litellm: Any, provider: str) -> bool:
    try:
        litellm.get_llm_provider(model=f"{provider}/model")
    except litellm.BadRequestError:
        return False
    return True


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _begin(send: Send, status: int, content_type: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type), *headers]})


async def _more(send: Send, body: bytes, *, end: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not end})


async def _send(send: Send, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
    body = msgspec.json.encode(value)
    more = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    await _begin(send, status, b"application/json", [(b"content-length", b"%d" % len(body)), *more])
    await _more(send, body, end=True)


# --- the program ---------------------------------------------------------------------------------------------------------


def loaded() -> Any:
    """litellm, with everything off that it would do by itself.  Takes seconds and 200 MB."""
    litellm: Any = import_module("litellm")
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.disable_streaming_logging = True
    litellm.drop_params = False
    litellm.modify_params = False
    litellm.num_retries = 0
    litellm.cache = None
    # What a provider does not report is not counted by litellm's tokenizers: the gateway says itself what it estimates.
    litellm.disable_token_counter = True
    # A hundred pieces that are the same are no error: they may be rows of a table, or spaces.
    litellm.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize
    # A picture's address in a request must not lead into the network that this machine is in.
    litellm.user_url_validation = True
    for name in ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback"):
        setattr(litellm, name, [])
    return litellm


def main(load_s: int) -> NoReturn:
    """Serve until stdin ends."""
    # They are meant for the gateway, which still wants to finish what it is at.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start = msgspec.json.decode(sys.stdin.readline(), type=Start)
    # litellm prints; stdout is kept for our one line and then leads nowhere.
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if sys.platform != "win32":
        # Its default action ends the process from inside of whatever call hangs there.
        signal.alarm(load_s)
    try:
        litellm = loaded()
    except ImportError as error:
        os.write(answer, f"failed litellm cannot be imported ({type(error).__name__}): install it with Tollway\n".encode())
        os._exit(1)
    if sys.platform != "win32":
        signal.alarm(0)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            Bridge(litellm, start),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
        )
    )
    # Not in the main thread: there uvicorn would listen to the signals.
    threading.Thread(target=server.run, args=([listener],), name="bridge", daemon=True).start()
    os.write(answer, f"ready http://127.0.0.1:{listener.getsockname()[1]}\n".encode())
    os.close(answer)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
