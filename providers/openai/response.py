"""What comes back whole: peeked at, never rewritten."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from providers import usage
from providers.errors import ErrorBody, InvalidResponse, RefusedInBody
from providers.provider import Answer
from providers.usage import OPENAI_LIKE, Semantics, Usage, standard_tier

MESSAGE_MAX = 512


class _Peek(msgspec.Struct):
    object: Any = None
    id: Any = None
    model: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: Any = None
    status: Any = None


_peek = msgspec.json.Decoder(_Peek).decode
# Within a text its quotation marks would have backslashes before them, so a body can be searched for it as it is.
_TRUNCATED = re.compile(rb'"finish_reason"\s*:\s*"(?:length|model_length)"|"reason"\s*:\s*"max_output_tokens"')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def with_whole_characters(data: bytes) -> bytes | None:
    """JSON without the escapes that may be half of a surrogate pair, which some models write; ``None`` if it has none.

    Only for looking into what is passed on as it came.
    """
    whole, count = _SURROGATE.subn(rb"\\ufffd", data)
    return whole if count else None


def _peeked(body: bytes) -> _Peek:
    try:
        return _peek(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = with_whole_characters(body)
        if whole is None:
            raise
        return _peek(whole)


def decode(body: bytes, semantics: Semantics = OPENAI_LIKE) -> Answer:
    """Peek at a 200's body.  semantics: what the vendor's usage object means.

    Raises: InvalidResponse, if it is not a JSON object; RefusedInBody, if it is an error in disguise.
    """
    try:
        peek = _peeked(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponse("The upstream's answer is not the JSON object that the protocol promises.") from error
    raw_error = bytes(peek.error)
    # A response object of the Responses API always has the key; what failed has its usage all the same.
    if raw_error not in (b"null", b"") and bytes(peek.usage) == b"null":
        raise RefusedInBody(error_body(body))
    raw = bytes(peek.usage)
    kept = peek.object == "response"
    return Answer(
        model=peek.model if isinstance(peek.model, str) else "",
        usage=served(usage.read(raw, semantics), peek.service_tier) if raw != b"null" else None,
        usage_raw=b"" if raw == b"null" else raw,
        truncated=is_truncated(body),
        id=peek.id if kept and isinstance(peek.id, str) else "",
        status=peek.status if kept and isinstance(peek.status, str) else "",
    )


def is_truncated(body: bytes) -> bool:
    """Whether a body or an event says that an answer ends since it had come to its length; of several answers, any of them.

    Source: OpenAI's ``finish_reason`` and ``incomplete_details``; Mistral's ``model_length``.
    """
    # Few answers have either word, and looking for words is a hundred times quicker than for an expression.
    return (b'length"' in body or b"max_output_tokens" in body) and _TRUNCATED.search(body) is not None


def served(read: Usage | None, service_tier: object) -> Usage | None:
    """The usage with the service tier that stands beside it, as OpenAI has it, if it names none itself."""
    tier = standard_tier(service_tier)
    return read if read is None or not tier or read.service_tier else replace(read, service_tier=tier)


def error_body(body: bytes) -> ErrorBody:
    """What an error answer says, in OpenAI's four fields, whatever its shape: an envelope, FastAPI's ``detail``, a web page."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorBody(message="The upstream sent an error without a readable message.")
    if isinstance(value, list) and value:
        value = value[0]
    said = value
    if isinstance(value, dict):
        said = value.get("error") or value.get("detail") or value
    if isinstance(said, list) and said:
        said = said[0]
    if isinstance(said, dict):
        message = said.get("message") or said.get("msg") or said.get("detail")
        return ErrorBody(
            message=_clean(message) or "The upstream sent an error without a message.",
            type=_label(said.get("type")),
            param=_label(said.get("param")),
            code=_label(said.get("code")),
        )
    return ErrorBody(message=_clean(said) or "The upstream sent an error without a message.")


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def _clean(text: Any) -> str:
    if not isinstance(text, str):
        return ""
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= MESSAGE_MAX else f"{text[: MESSAGE_MAX - 1]}…"


def _label(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)[:128]
    return _clean(value)[:128] or None if isinstance(value, str) else None
