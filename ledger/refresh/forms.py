"""Which harness wrote a file.  Pure."""

from __future__ import annotations

from ledger.errors import SourceUnreadable
from ledger.payload import decode

FORMS = ("helios", "lm-eval", "inspect")


def form_of(payload: bytes, /) -> str:
    """One of ``FORMS``, by what only it has.  Raises: SourceUnreadable."""
    if payload.startswith(b"PK"):
        return "inspect"
    document = decode(payload)
    fields = document.keys() if isinstance(document, dict) else set()
    if "schema" in fields or {"schema_version", "subject"} <= fields:
        return "helios"
    if {"results", "configs"} <= fields:
        return "lm-eval"
    if {"eval", "status"} <= fields:
        return "inspect"
    raise SourceUnreadable(
        "this is neither an envelope ('schema'), nor results of lm-evaluation-harness ('results', 'configs'), "
        "nor a log of Inspect ('eval', 'status')"
    )
