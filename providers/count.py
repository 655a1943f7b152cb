"""What the protocols' counts of tokens share: a number in an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.errors import InvalidResponse

TOKENS_MAX = 10**12
"""More is no count."""


def decode(body: bytes, field: str) -> int:
    """The number of tokens under a name.  Raises: InvalidResponse."""
    try:
        fields: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponse("The upstream's answer is not the JSON object that the protocol promises.") from error
    tokens = fields.get(field) if isinstance(fields, Mapping) else None
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 0 <= tokens <= TOKENS_MAX:
        raise InvalidResponse("The upstream's answer has no number of tokens.")
    return tokens


def encode(tokens: int, field: str) -> bytes:
    """The number under a name."""
    return msgspec.json.encode({field: tokens})
