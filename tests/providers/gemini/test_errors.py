"""What Google's errors mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.gemini.errors import refusal


def said(status: int, word: str, *details: dict[str, Any]) -> bytes:
    return json.dumps({"error": {"code": status, "message": "no", "status": word, "details": list(details)}}).encode()


def test_the_code_is_googles_word() -> None:
    read = refusal(404, said(404, "NOT_FOUND"))

    assert (read.status, read.body.code, read.body.message, read.retry_after_s) == (404, "NOT_FOUND", "no", None)


def test_a_list_of_one_error_is_that_error() -> None:
    assert refusal(400, b"[" + said(400, "INVALID_ARGUMENT") + b"]").body.code == "INVALID_ARGUMENT"


def test_a_bad_key_is_no_fault_of_the_request() -> None:
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}

    assert refusal(400, said(400, "INVALID_ARGUMENT", reason)).status == 401


def test_when_to_ask_again_stands_in_the_body() -> None:
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33.5s"}

    assert refusal(429, said(429, "RESOURCE_EXHAUSTED", delay)).retry_after_s == 33.5


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"error":"no"}', b'{"error":{"details":7,"status":7}}'])
def test_any_other_body_is_an_error_too(body: bytes) -> None:
    assert refusal(500, body).body.message
