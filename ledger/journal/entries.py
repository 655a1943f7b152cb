"""Which columns the journal has, the rows of its entries, and the SQL that appends them.

``ledger/schema.py`` describes the same tables for migrations.  This file repeats their columns as plain text so that a
running proxy does not import SQLAlchemy, which takes half a second and 37 MB; a test holds the two together.

What a row costs is mostly binding: Python's sqlite3 binds ``str``, ``int`` and ``bytearray`` directly, but looks for an
adapter for everything else, ``None``, ``bool`` and ``bytes`` included, at about 0.3 us each.  So columns that a kind of
entry never fills are NULL in the text of the statement, and rows hold the three cheap types wherever they can.

A row's values are in the order of the columns of ENTRY, so what a statement binds is the rows one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import msgspec

from ledger.records import Adjustment, DecisionRecord, Progress, RequestRecord, Reservation, Settlement, Tokens, Void

Value = int | str | bytes | bytearray | None

TOKENS = Tokens.__struct_fields__
RESERVE = Reservation.__struct_fields__
# What ends a reservation repeats what was reserved, so that each row alone says how it moves money.
SETTLE = ("request_id", "attempt", "at_us", "quality", *TOKENS, "cost_nusd", "price_source", "usage_raw", "max_cost_nusd")
VOID = (*Void.__struct_fields__, "max_cost_nusd")
ADJUST = Adjustment.__struct_fields__
ENTRY = ("kind", *RESERVE[:-1], *(c for c in SETTLE if c not in RESERVE), "reason", "max_cost_nusd", "evidence", "h")
COLUMNS = {"RESERVE": RESERVE, "SETTLE": SETTLE, "VOID": VOID, "ADJUST": ADJUST}
# The columns that came with revision 0003, by kind.  In an older entry they are NULL and no part of its hash; in a newer
# one none of them is ever NULL, so the row itself says which it is.
LATER = {"RESERVE": ("user", "team", "tags"), "SETTLE": TOKENS[7:]}
PROGRESS = Progress.__struct_fields__
REQUEST = (
    *("request_id", "at_us", "key_id", "endpoint", "model", "provider", "upstream_model", "answered_model", "stream"),
    *("status", "outcome", "quality", *TOKENS, "cost_nusd", "price_source", "duration_us", "ttfb_us", "attempts"),
    *("usage_raw", "user", "team", "tags", "cache", "saved_nusd"),
)
DECISION = DecisionRecord.__struct_fields__

encode_attempts = msgspec.json.Encoder().encode


def tags_text(tags: Sequence[str], /) -> str:
    """How tags are stored: a JSON array, and nothing for none.  Raises: TypeError, for what are no tags."""
    if type(tags) is not tuple or not all(type(it) is str for it in tags):
        raise TypeError("tags are a tuple of texts")
    return msgspec.json.encode(tags).decode() if tags else ""


def read_tags(text: object, /) -> tuple[str, ...]:
    """The tags that a column holds; none in a row that is older than its column."""
    return msgspec.json.decode(str(text), type=tuple[str, ...]) if text else ()


def reserve_row(e: Reservation, /) -> list[Value]:
    """The values of ``RESERVE``."""
    return [
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
        e.user,
        e.team,
        "" if e.tags == () else tags_text(e.tags),
        e.max_cost_nusd,
    ]


def settle_row(e: Settlement, /) -> list[Value]:
    """The values of ``SETTLE``; the last is for the reservation to say."""
    t = e.tokens
    return [
        e.request_id,
        e.attempt,
        e.at_us,
        e.quality,
        t.input_uncached,
        t.cache_read,
        t.cache_write,
        t.input_audio,
        t.output_text,
        t.reasoning,
        t.output_audio,
        t.cache_write_1h,
        t.cache_read_audio,
        t.input_image,
        t.output_image,
        t.web_searches,
        e.cost_nusd,
        e.price_source,
        bytearray(memoryview(e.usage_raw)),
        None,
    ]


def void_row(e: Void, /) -> list[Value]:
    """The values of ``VOID``; the last is for the reservation to say."""
    return [e.request_id, e.attempt, e.at_us, e.reason, None]


def adjust_row(e: Adjustment, /) -> list[Value]:
    """The values of ``ADJUST``."""
    return [e.request_id, e.attempt, e.at_us, e.cost_nusd, e.reason, e.evidence]


def progress_row(e: Progress, /) -> list[Value]:
    """The values of ``PROGRESS``."""
    return [e.request_id, e.attempt, e.output_tokens]


def request_row(r: RequestRecord, /) -> list[Value]:
    """The values of ``REQUEST``."""
    t = r.tokens
    return [
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
        t.input_uncached,
        t.cache_read,
        t.cache_write,
        t.input_audio,
        t.output_text,
        t.reasoning,
        t.output_audio,
        t.cache_write_1h,
        t.cache_read_audio,
        t.input_image,
        t.output_image,
        t.web_searches,
        r.cost_nusd,
        r.price_source,
        r.duration_us,
        r.ttfb_us,
        encode_attempts(r.attempts).decode(),
        bytearray(memoryview(r.usage_raw)),
        r.user,
        r.team,
        "" if r.tags == () else tags_text(r.tags),
        r.cache,
        r.saved_nusd,
    ]


def decision_row(d: DecisionRecord, /) -> list[Value]:
    """The values of ``DECISION``."""
    return [
        d.request_id,
        d.at_us,
        d.policy,
        d.task,
        d.chosen,
        d.snapshot_id,
        d.propensity_ppm,
        d.why,
        d.quality_ppm,
        d.cost_nusd,
        d.output_tokens,
        d.ttft_us,
        d.latency_us,
        d.features,
        d.candidates,
    ]


def read_decision(row: Sequence[object], /) -> DecisionRecord:
    """The decision that a row of ``DECISION`` holds."""
    return msgspec.convert(dict(zip(DECISION, row, strict=True)), DecisionRecord, strict=False)


def read_request(row: Sequence[object], /) -> RequestRecord:
    """The record that a row of ``REQUEST`` holds."""
    fields = dict(zip(REQUEST, row, strict=True))
    fields["tokens"] = {name: fields.pop(name) for name in TOKENS}
    fields["attempts"] = msgspec.json.decode(str(fields["attempts"]))
    fields["tags"] = read_tags(fields["tags"])
    return msgspec.convert(fields, RequestRecord, strict=False, builtin_types=(bytes,))


_TEXT = frozenset(
    (
        *("request_id", "key_id", "endpoint", "model", "provider", "account", "upstream_model", "answered_model"),
        *("outcome", "quality", "price_source", "reason", "evidence", "attempts", "user", "team", "tags", "cache"),
        *("policy", "task", "chosen", "snapshot_id", "why", "features", "candidates"),
    )
)
_OPTIONAL = {
    "RESERVE": {"max_cost_nusd"},
    "SETTLE": {"cost_nusd", "max_cost_nusd"},
    "VOID": {"max_cost_nusd"},
    "ADJUST": set[str](),
    "PROGRESS": set[str](),
    "REQUEST": {"cost_nusd", "ttfb_us"},
    "DECISION": {"quality_ppm", "cost_nusd", "output_tokens", "ttft_us", "latency_us"},
}


def _signatures(kind: str, columns: Sequence[str]) -> frozenset[tuple[type, ...]]:
    """Every tuple of types that a row of this kind may have."""
    types = ((str if name in _TEXT else bytearray if name == "usage_raw" else int) for name in columns)
    return frozenset(
        product(*((it, type(None)) if name in _OPTIONAL[kind] else (it,) for name, it in zip(columns, types, strict=True)))
    )


# The types that a row's values may have.  SQLite would convert others (a float, digits in quotes) and keep what nobody
# wrote and the chain's hash is not of.
TYPES = {
    "RESERVE": _signatures("RESERVE", RESERVE),
    "SETTLE": _signatures("SETTLE", SETTLE),
    "VOID": _signatures("VOID", VOID),
    "ADJUST": _signatures("ADJUST", ADJUST),
    "PROGRESS": _signatures("PROGRESS", PROGRESS),
    "REQUEST": _signatures("REQUEST", REQUEST),
    "DECISION": _signatures("DECISION", DECISION),
}


def _values(kind: str) -> str:
    """One row of ENTRY with a place for each column of its kind and NULL for the others."""
    columns = {*COLUMNS[kind], "h"}
    return f"('{kind}'," + ",".join("?" if name in columns else "NULL" for name in ENTRY[1:]) + ")"


_ROW = {kind: _values(kind) for kind in COLUMNS}
_REQUEST = "(" + ",".join("?" * len(REQUEST)) + ")"
_DECISION = "(" + ",".join("?" * len(DECISION)) + ")"


@lru_cache(maxsize=128)
def append_entries(reserves: int, settles: int) -> str:
    """Append so many reservations, then settlements."""
    rows = ",".join((*[_ROW["RESERVE"]] * reserves, *[_ROW["SETTLE"]] * settles))
    return f"INSERT INTO entries ({','.join(ENTRY)}) VALUES {rows}"  # noqa: S608  # only names and places from this file


@lru_cache(maxsize=32)
def append_kind(kind: str, count: int) -> str:
    """Append so many entries of one kind."""
    rows = ",".join([_ROW[kind]] * count)
    return f"INSERT INTO entries ({','.join(ENTRY)}) VALUES {rows}"  # noqa: S608  # only names and places from this file


@lru_cache(maxsize=32)
def append_requests(count: int) -> str:
    """Append so many request records."""
    rows = ",".join([_REQUEST] * count)
    return f"INSERT INTO requests ({','.join(REQUEST)}) VALUES {rows}"  # noqa: S608  # only names and places from this file


@lru_cache(maxsize=32)
def append_decisions(count: int) -> str:
    """Append so many decisions."""
    rows = ",".join([_DECISION] * count)
    return f"INSERT INTO decisions ({','.join(DECISION)}) VALUES {rows}"  # noqa: S608  # only names and places from this file


@lru_cache(maxsize=16)
def note_progress(count: int) -> str:
    """Note how far so many streams have come; a note never goes back."""
    rows = ",".join(["(?,?,?)"] * count)
    return (
        f"INSERT INTO progress ({','.join(PROGRESS)}) VALUES {rows} "  # noqa: S608  # only names and places from this file
        "ON CONFLICT DO UPDATE SET output_tokens = max(output_tokens, excluded.output_tokens)"
    )
