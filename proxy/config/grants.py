"""What a key, a user or a team may be given, and what is wrong with it; the configuration and the API ask the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from providers.provider import INNER, Endpoint

ENDPOINTS: Final[tuple[str, ...]] = (*(name for name in get_args(Endpoint) if name not in INNER), "files", "batches")
"""What a key may be held to: the endpoints of models, and what providers keep."""
PRIORITIES: Final = ("high", "normal", "low")
METADATA_MAX_BYTES: Final = 4096
PATTERNS_MAX: Final = 256

MODEL_PATTERN: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,256}")
DISCONNECT: Final = re.compile(r"cancel|drain|drain:[1-9][0-9]{0,8}")
A_MODEL_PATTERN: Final = "must be a pattern of model names, such as openai/*"
A_DISCONNECT: Final = "must be 'cancel', 'drain', or 'drain:N' with N the most tokens to wait for, such as drain:500"


class Fault(msgspec.Struct, frozen=True):
    """One thing that cannot be given.  index: which one of a list."""

    field: str
    what: str
    index: int | None = None


def faults(
    *, models: Sequence[str] = (), endpoints: Sequence[str] = (), disconnect: str = "cancel", metadata: str = "{}"
) -> Iterator[Fault]:
    """Everything that is wrong with these.  metadata: a JSON object, as text."""
    for field, texts in (("models", models), ("endpoints", endpoints)):
        if len(texts) > PATTERNS_MAX:
            yield Fault(field, f"at most {PATTERNS_MAX}")
        for index, text in enumerate(texts[:PATTERNS_MAX]):
            if field == "models" and not MODEL_PATTERN.fullmatch(text):
                yield Fault(field, A_MODEL_PATTERN, index)
            elif field == "endpoints" and text not in ENDPOINTS:
                yield Fault(field, f"no such endpoint; there are: {', '.join(ENDPOINTS)}", index)
            elif text in texts[:index]:
                yield Fault(field, "listed twice", index)
    if not DISCONNECT.fullmatch(disconnect):
        yield Fault("disconnect", A_DISCONNECT)
    if len(metadata.encode()) > METADATA_MAX_BYTES:
        yield Fault("metadata", f"must not take more than {METADATA_MAX_BYTES} bytes of JSON")


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """A JSON object as text, as short as it gets."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
