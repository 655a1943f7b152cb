"""Which columns the journal has, the rows of its entries, and the SQL that appends them.

``ledger/schema.py`` describes the same tables for migrations.  This file repeats their columns as plain text so that a
running proxy does not import SQLAlchemy, which takes half a second and 37 MB; a test holds the two together.

What a row costs is mostly binding: Python's sqlite3 binds ``str``, ``int`` and ``bytearray`` directly, but looks for an
adapter for everything else, ``None``, ``bool`` and ``bytes`` included, at about 0.3 us each.  So columns that a kind of
entry never fills are NULL in the text of the statement, and rows hold the three cheap types wherever they can.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from ledger.records import Key, RequestRecord, Reservation, Settlement, Void

Value = int | str | bytes | bytearray | None

# The buckets that have a column.  What is priced apart but is a kind of one of these is kept in its column; the provider's
# own object, which is stored whole, tells them apart.
TOKENS = ("input_uncached", "cache_read", "cache_write", "input_audio", "output_text", "reasoning", "output_audio")
RESERVE = Reservation.__struct_fields__
SETTLE = ("request_id", "attempt", "at_us", "quality", *TOKENS, "cost_nusd", "price_source", "usage_raw")
VOID = Void.__struct_fields__
ENTRY = ("kind", *RESERVE, *(c for c in SETTLE if c not in RESERVE), "reason")
REQUEST = (
    *("request_id", "at_us", "key_id", "endpoint", "model", "provider", "upstream_model", "answered_model", "stream"),
    *("status", "outcome", "quality", *TOKENS, "cost_nusd", "price_source", "duration_us", "ttfb_us", "attempts"),
    "usage_raw",
)
KEY = Key.__struct_fields__

encode_attempts = msgspec.json.Encoder().encode


def reserve_row(e: Reservation, /) -> tuple[Value, ...]:
    """The values of ``RESERVE``."""
    return (
        e.request_id,
        e.attempt,
        e.at_us,
        e.key_id,
        e.endpoint,
        e.model,
        e.provider,
        e.account,
        e.upstream_model,
        1 if e.stream else 0,
        e.input_tokens_estimate,
    )


def settle_row(e: Settlement, /) -> tuple[Value, ...]:
    """The values of ``SETTLE``."""
    t = e.tokens
    return (
        e.request_id,
        e.attempt,
        e.at_us,
        e.quality,
        t.input_uncached + t.input_image,
        t.cache_read + t.cache_read_audio,
        t.cache_write + t.cache_write_1h,
        t.input_audio,
        t.output_text + t.output_image,
        t.reasoning,
        t.output_audio,
        e.cost_nusd,
        e.price_source,
        bytearray(e.usage_raw),
    )


def void_row(e: Void, /) -> tuple[Value, ...]:
    """The values of ``VOID``."""
    return (e.request_id, e.attempt, e.at_us, e.reason)


def request_row(r: RequestRecord, /) -> tuple[Value, ...]:
    """The values of ``REQUEST``."""
    t = r.tokens
    return (
        r.request_id,
        r.at_us,
        r.key_id,
        r.endpoint,
        r.model,
        r.provider,
        r.upstream_model,
        r.answered_model,
        1 if r.stream else 0,
        r.status,
        r.outcome,
        r.quality,
        t.input_uncached + t.input_image,
        t.cache_read + t.cache_read_audio,
        t.cache_write + t.cache_write_1h,
        t.input_audio,
        t.output_text + t.output_image,
        t.reasoning,
        t.output_audio,
        r.cost_nusd,
        r.price_source,
        r.duration_us,
        r.ttfb_us,
        encode_attempts(r.attempts).decode(),
        bytearray(r.usage_raw),
    )


def key_row(key: Key, /) -> tuple[Value, ...]:
    """The values of ``KEY``."""
    return (
        key.id,
        key.name,
        key.digest,
        key.last4,
        int(key.admin),
        msgspec.json.encode(key.models).decode(),
        key.created_us,
        key.expires_us,
        key.revoked_us,
    )


def read_request(row: Sequence[object], /) -> RequestRecord:
    """The record that a row of ``REQUEST`` holds."""
    fields = dict(zip(REQUEST, row, strict=True))
    fields["tokens"] = {name: fields.pop(name) for name in TOKENS}
    fields["attempts"] = msgspec.json.decode(str(fields["attempts"]))
    return msgspec.convert(fields, RequestRecord, strict=False, builtin_types=(bytes,))


def read_key(row: Sequence[object], /) -> Key:
    """The key that a row of ``KEY`` holds."""
    fields = dict(zip(KEY, row, strict=True))
    fields["models"] = msgspec.json.decode(str(fields["models"]))
    return msgspec.convert(fields, Key, strict=False, builtin_types=(bytes,))


def _values(kind: str, columns: Sequence[str]) -> str:
    """One row of ENTRY with a place for each of ``columns`` and NULL for the others."""
    return f"('{kind}'," + ",".join("?" if name in columns else "NULL" for name in ENTRY[1:]) + ")"


_RESERVE = _values("RESERVE", RESERVE)
_SETTLE = _values("SETTLE", SETTLE)
_VOID = _values("VOID", VOID)
_REQUEST = "(" + ",".join("?" * len(REQUEST)) + ")"


@lru_cache(maxsize=128)
def append_entries(reserves: int, settles: int, voids: int) -> str:
    """Append so many reservations, then settlements, then voids; those that are there already are left alone."""
    rows = ",".join((*[_RESERVE] * reserves, *[_SETTLE] * settles, *[_VOID] * voids))
    return f"INSERT INTO entries ({','.join(ENTRY)}) VALUES {rows} ON CONFLICT DO NOTHING"  # noqa: S608  # only names and places from this file


@lru_cache(maxsize=32)
def append_requests(count: int) -> str:
    """Append so many request records; those that are there already are left alone."""
    rows = ",".join([_REQUEST] * count)
    return f"INSERT INTO requests ({','.join(REQUEST)}) VALUES {rows} ON CONFLICT DO NOTHING"  # noqa: S608  # only names and places from this file
