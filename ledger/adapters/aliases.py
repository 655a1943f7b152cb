"""The reviewed table of aliases, as ``ledger/data/aliases.json`` has it.

Each row says who calls which model so, and how that is known.  A row is added by hand after a look at both; a program only
suggests (``tollway ledger models suggestions``).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ledger.catalogue.identity import AliasTable
from ledger.errors import FactsUnreadable

FILE = Path(__file__).parents[1] / "data" / "aliases.json"

_decode = msgspec.json.Decoder(AliasTable).decode


def load(path: Path = FILE, /) -> AliasTable:
    """Read the table.  Raises: FactsUnreadable."""
    try:
        return _decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise FactsUnreadable(f"{path.name}: {error}") from error
