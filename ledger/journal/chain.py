"""The chain of hashes over the journal: an entry that is changed, removed or slipped in later breaks it.

An entry's hash is SHA-256 over the hash before it and its row, as MessagePack of its kind and of the values of that
kind's columns in the order of ``entries.COLUMNS``.  The first stands on 32 zero bytes.  A file has one writer, so one
chain, and its order is that of the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec

from ledger.journal.entries import COLUMNS, Value

GENESIS: Final = bytes(32)

_encode = msgspec.msgpack.Encoder().encode
_KIND: Final = {kind: _encode(kind) for kind in COLUMNS}


def link(previous: bytes, kind: str, row: Sequence[Value], /) -> bytes:
    """The hash of an entry.  row: the values of its kind's columns."""
    return sha256(previous + _KIND[kind] + _encode(row)).digest()
