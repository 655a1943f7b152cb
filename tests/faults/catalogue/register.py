"""Every row of the catalogue: importing a module of rows registers them."""

from __future__ import annotations

from tests.faults.catalogue import before_first_byte, body, choice, client, stream
from tests.faults.catalogue.row import ROWS

MODULES = (before_first_byte, body, stream, client, choice)

__all__ = ["MODULES", "ROWS"]
