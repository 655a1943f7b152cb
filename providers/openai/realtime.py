"""Sessions of OpenAI's Realtime API: what opens one, and what of their events is metered.  The events themselves pass.

Source: platform.openai.com/docs/api-reference/realtime, …/realtime-client-events, …/realtime-server-events, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from providers.provider import HttpRequest, Upstream, segment

PATH: Final = "realtime"
SUBPROTOCOL: Final = "realtime"
"""What a client's handshake offers, and is told."""
KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."
"""Of a browser, which cannot send headers: what comes before its key."""
BETA_SUBPROTOCOL: Final = "openai-beta."
BETA_HEADER: Final = "openai-beta"
LETS_THROUGH: Final = frozenset({BETA_HEADER, "openai-safety-identifier"})
"""Headers of a client's handshake that go on."""

HEARD_BYTES_PER_TOKEN: Final = 1_000
"""Of base64, as a client sends it.  A token is 100 ms of what is heard, and the format with the fewest bytes has 8,000 a second
(G.711): so there are never more tokens than this says.
Source: platform.openai.com/docs/guides/realtime-costs, read 2026-11."""
_SPOKEN_BYTES_PER_TOKEN: Final = {"pcm": 3_200, "g711": 533}
"""The same of what is said, of which a token is 50 ms, by format."""

SAFE: Final = frozenset({"response.cancel", "output_audio_buffer.clear"})
"""What a client says that makes nobody work."""
CREATE: Final = "response.create"
APPEND: Final = "input_audio_buffer.append"
CANCEL: Final = b'{"type":"response.cancel"}'


class _Details(msgspec.Struct, frozen=True):
    type: str = ""
    code: str | None = None
    message: str | None = None
    event_id: str | None = None


class _Response(msgspec.Struct, frozen=True):
    id: str = ""
    status: str = ""
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _Named(msgspec.Struct, frozen=True):
    model: str = ""


class _Input(msgspec.Struct, frozen=True):
    transcription: _Named | None = None


class _Format(msgspec.Struct, frozen=True):
    type: str = ""


class _Output(msgspec.Struct, frozen=True):
    format: _Format | None = None


class _Audio(msgspec.Struct, frozen=True):
    input: _Input | None = None
    output: _Output | None = None


class _Session(msgspec.Struct, frozen=True):
    model: str = ""
    audio: _Audio | None = None
    input_audio_transcription: _Named | None = None
    output_audio_format: str | None = None


class _Said(msgspec.Struct, frozen=True):
    """A message, as far as somebody wants to know.  An event of the upstream's, or a client's."""

    type: str = ""
    event_id: str | None = None
    response: msgspec.Raw = msgspec.Raw(b"null")
    session: msgspec.Raw = msgspec.Raw(b"null")
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What matters of a message.  type: empty, if it is no event.

    response_id, usage_raw: of a response that began or ended, or of a transcription; empty: it has none.
    transcriber: of a session that was made or changed, the model that writes down what is heard; empty: none; ``None``: it is
    no such event.  spoken_bytes_per_token: how much of such a session's sound is a token.
    refused: of an error, the id of the client's event that it answers, if it says.
    """

    type: str = ""
    event_id: str | None = None
    response_id: str = ""
    status: str = ""
    usage_raw: bytes = b""
    transcriber: str | None = None
    spoken_bytes_per_token: int = 0
    refused: str | None = None
    message: str = ""


NOTHING: Final = Said()
_decode = msgspec.json.Decoder(_Said).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_decode_session = msgspec.json.Decoder(_Session).decode
_decode_error = msgspec.json.Decoder(_Details).decode


def heard(data: bytes) -> Said:
    """What matters of a message of either side.  Never raises: what is no event is none."""
    try:
        said = _decode(data)
        kind = said.type
        if kind in ("response.created", "response.done"):
            response = _decode_response(said.response)
            return Said(type=kind, response_id=response.id, status=response.status, usage_raw=_object(response.usage))
        if kind == TRANSCRIBED:
            return Said(type=kind, usage_raw=_object(said.usage))
        if kind in ("session.created", "session.updated", "transcription_session.updated"):
            session = _decode_session(said.session)
            return Said(type=kind, transcriber=_transcriber(session), spoken_bytes_per_token=_spoken(session))
        if kind == "error":
            error = _decode_error(said.error)
            return Said(type=kind, refused=error.event_id, message=error.message or "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOTHING
    return Said(type=kind, event_id=said.event_id)


TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"


def handshake(
    upstream: Upstream, *, model: str, request_id: str, headers: Mapping[str, str] | None = None, intent: str = ""
) -> HttpRequest:
    """What opens a session at an upstream.  The model stands in the URL alone: an event cannot change it.

    headers: of the client's, those that go on.  intent: ``transcription``: nothing is answered; the model that writes down is
    named by an event then, and OpenAI takes none in the URL (platform.openai.com/docs/guides/realtime-transcription).
    Source: learn.microsoft.com/azure/ai-foundry/openai/how-to/realtime-audio-websockets (both of Azure's forms), read 2026-11.
    """
    sent = {"x-request-id": request_id, **(headers or {})}
    if upstream.api_key is not None and upstream.vendor.key_header:
        sent[upstream.vendor.key_header] = upstream.api_key
    elif upstream.api_key is not None:
        sent["authorization"] = f"Bearer {upstream.api_key}"
    path = upstream.vendor.path("realtime")
    if upstream.api_version:
        query = f"api-version={segment(upstream.api_version)}&deployment={segment(model)}"
    else:
        query = f"model={segment(model)}"
    if intent:
        query = f"intent={segment(intent)}&{query}" if upstream.api_version else f"intent={segment(intent)}"
    return HttpRequest(f"{upstream.base_url}/{path}?{query}", sent, b"", "GET")


def _object(raw: msgspec.Raw) -> bytes:
    data = bytes(raw)
    return data if data.startswith(b"{") else b""


def _transcriber(session: _Session) -> str:
    named = session.input_audio_transcription
    if session.audio is not None and session.audio.input is not None:
        named = session.audio.input.transcription
    return named.model if named is not None else ""


def _spoken(session: _Session) -> int:
    output = session.audio.output if session.audio is not None else None
    name = output.format.type if output is not None and output.format is not None else session.output_audio_format or ""
    return _SPOKEN_BYTES_PER_TOKEN["g711" if name.startswith(("g711", "audio/pcmu", "audio/pcma")) else "pcm"]
