"""What is sent upstream: the client's own bytes, with the model's name spliced in and usage asked for."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from providers.provider import Endpoint, HttpRequest, Upstream, segment

_VALUE = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
# A letter of "model" in its escaped form: the key at the top may be spelled so while one further down is not.
_ESCAPED = re.compile(rb"\\u006[dDfF45cC]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_OPEN = re.compile(rb"\s*\{")
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Azure has these beside its deployments, and reads the model's name in their bodies.
_WITHOUT_DEPLOYMENT: Final[frozenset[Endpoint]] = frozenset({"responses", "responses/input_tokens", "responses/compact"})
_USAGE = b'"stream_options":{"include_usage":true},'


def encode(
    body: bytes,
    *,
    upstream: Upstream,
    endpoint: Endpoint,
    asked_model: str,
    model: str,
    ask_usage: bool,
    stream_options: bool,
    request_id: str,
    cut: tuple[str, ...] = (),
) -> HttpRequest:
    """The request for an upstream that speaks the client's protocol; nothing is added that the caller did not send,
    but ``stream_options.include_usage`` where ``ask_usage`` says so.

    body: a strict JSON object with a top-level string ``model``.  stream_options: the client sent some of its own.
    asked_model: empty: the body has none, and gets one.  cut: fields at the top that are not for the upstream.
    """
    if cut:
        body = without(body, cut)
    if not asked_model:
        body = msgspec.json.encode({"model": model, **_FIELDS.decode(body)} | {"model": model})
    elif model != asked_model:
        body = with_model(body, model)
    if ask_usage:
        body = _asking_usage(body) if stream_options else _OPEN.sub(lambda match: match[0] + _USAGE, body, count=1)
    return post(body, upstream=upstream, endpoint=endpoint, model=model, request_id=request_id)


def post(body: bytes, *, upstream: Upstream, endpoint: Endpoint, model: str, request_id: str) -> HttpRequest:
    """The request with its address and its credential.

    Source: learn.microsoft.com/azure/ai-foundry/openai/reference (deployments) and …/api-version-lifecycle (v1), read 2026-11.
    """
    headers = {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "x-request-id": request_id,
    }
    if upstream.api_key is not None and upstream.vendor.key_header:
        headers[upstream.vendor.key_header] = upstream.api_key
    elif upstream.api_key is not None:
        headers["authorization"] = f"Bearer {upstream.api_key}"
    if not upstream.vendor.keeps_alive:
        headers["connection"] = "close"
    path = upstream.vendor.path(endpoint)
    if upstream.api_version:
        place = path if endpoint in _WITHOUT_DEPLOYMENT else f"deployments/{segment(model)}/{path}"
        path = f"{place}?api-version={segment(upstream.api_version)}"
    return HttpRequest(f"{upstream.base_url}/{path}", headers, body)


def kept(method: str, path: str, *, upstream: Upstream, request_id: str) -> HttpRequest:
    """A request about a response that the upstream keeps.  path: below ``responses/``, with its query."""
    return about(method, f"{upstream.vendor.path('responses')}/{path}", upstream=upstream, request_id=request_id)


def about(method: str, path: str, *, upstream: Upstream, request_id: str, body: bytes = b"") -> HttpRequest:
    """A request about what an upstream keeps: a response, a file, a batch.  path: below its base URL, with its query."""
    headers = post(b"", upstream=upstream, endpoint="responses", model="", request_id=request_id).headers
    version = f"api-version={segment(upstream.api_version)}" if upstream.api_version else ""
    query = f"{'&' if '?' in path else '?'}{version}" if version else ""
    return HttpRequest(f"{upstream.base_url}/{path}{query}", headers, body, method)


def with_answer_so_far(body: bytes, text: str, *, tokens: int, marked: bool) -> bytes:
    """A chat request that asks for the rest of an answer of which this much has been given.

    tokens: about how many those were; they are taken off what the client allows.  marked: the vendor wants the beginning
    of an answer marked as such.
    """
    fields = _FIELDS.decode(body)
    messages = msgspec.json.decode(fields["messages"], type=list[msgspec.Raw])
    if text:
        said = {"role": "assistant", "content": text, **({"prefix": True} if marked else {})}
        messages.append(msgspec.Raw(msgspec.json.encode(said)))
    fields["messages"] = msgspec.Raw(msgspec.json.encode(messages))
    for name in ("max_tokens", "max_completion_tokens"):
        most = msgspec.json.decode(fields.get(name, msgspec.Raw(b"null")))
        if isinstance(most, int):
            fields[name] = msgspec.Raw(msgspec.json.encode(max(most - tokens, 1)))
    return msgspec.json.encode(fields)


def with_model(body: bytes, model: str) -> bytes:
    """The body with another model; every other value keeps its bytes.  It has a top-level string ``model``."""
    spans = _model_spans(body)
    if len(spans) > 1 or _ESCAPED.search(body) is not None:
        spans = [span for span in spans if _is_at_top(body, span[0])]
    quoted = msgspec.json.encode(model)
    if len(spans) == 1:
        start, end = spans[0]
        return b"".join((body[:start], quoted, body[end:]))
    # The key is spelled with escapes: keep every value's bytes, write the keys anew.
    fields = _FIELDS.decode(body)
    fields["model"] = msgspec.Raw(quoted)
    return msgspec.json.encode(fields)


def _model_spans(body: bytes) -> list[tuple[int, int]]:
    """Where the string values of all keys called "model" stand, at whatever depth; nearly always there is just one.

    A key's opening quote follows a brace, a comma or white space, and inside a string a bare quote cannot stand.
    """
    spans = []
    at = body.find(b'"model"')
    while at > 0:
        if body[at - 1] in b"{, \t\r\n" and (match := _VALUE.match(body, at)):
            spans.append(match.span(1))
        at = body.find(b'"model"', at + 7)
    return spans


def _is_at_top(body: bytes, at: int) -> bool:
    """Whether what stands at ``at`` is a value of the outermost object."""
    structure = _STRING.sub(b"", body[:at])
    opened = structure.count(b"{") + structure.count(b"[")
    return opened - structure.count(b"}") - structure.count(b"]") == 1


def without(body: bytes, names: tuple[str, ...]) -> bytes:
    """The body without these fields; every other value keeps its bytes."""
    return msgspec.json.encode({name: value for name, value in _FIELDS.decode(body).items() if name not in names})


def _asking_usage(body: bytes) -> bytes:
    fields = _FIELDS.decode(body)
    options = msgspec.json.decode(fields["stream_options"], type=dict[str, msgspec.Raw] | None) or {}
    options["include_usage"] = msgspec.Raw(b"true")
    fields["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
    return msgspec.json.encode(fields)
