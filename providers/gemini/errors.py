"""What Google's errors mean: ``{"error": {"code", "message", "status", "details"}}``, or a list of one such object.

Source: cloud.google.com/apis/design/errors, and ai.google.dev/gemini-api/docs/troubleshooting, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers.errors import ErrorBody
from providers.openai import response
from providers.protocol import Refusal

_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
_KEYS: Final = frozenset({"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_EXPIRED"})
"""Reasons for which a 400 is about the key and not about the request."""


def error_body(body: bytes) -> ErrorBody:
    """What an error says; its code is Google's word, such as ``RESOURCE_EXHAUSTED``."""
    read = response.error_body(body)
    status = _said(body).get("status")
    return replace(read, code=status[:128]) if isinstance(status, str) and status else read


def refusal(status: int, body: bytes) -> Refusal:
    """What an error answer means.  A bad key is a 400 there; when to ask again stands in the body."""
    retry_after_s = None
    for detail in _details(body):
        if detail.get("reason") in _KEYS:
            status = 401
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (match := _DELAY.fullmatch(delay)) is not None:
            retry_after_s = float(match[1])
    return Refusal(status=status, body=error_body(body), retry_after_s=retry_after_s)


def _said(body: bytes) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    said = value.get("error") if isinstance(value, dict) else None
    return said if isinstance(said, dict) else {}


def _details(body: bytes) -> Iterator[Mapping[str, Any]]:
    details = _said(body).get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail
