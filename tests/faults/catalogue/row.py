"""A row of the catalogue, and the register of all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tests.faults.catalogue.case import Case

Scenario = Callable[["Case"], Awaitable[None]]

REPEATS = 20


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fault.

    id: its letter and number.  title: what is injected.
    provider: settings of its providers, put over the bench's.
    at: where the faulty provider is instead of the fake upstream, another place in every repeat: names of peers.py.
    at_once: repeats that may run side by side.
    """

    id: str
    title: str
    scenario: Scenario
    repeats: int = REPEATS
    at_once: int = REPEATS
    provider: Mapping[str, Any] = {}
    at: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The letter."""
        return self.id[0]

    @property
    def order(self) -> tuple[str, int]:
        """Rows are listed by letter, then by number."""
        return self.id[0], int("".join(filter(str.isdigit, self.id)))


ROWS: dict[str, Row] = {}


def row(row_id: str, title: str, **fields: Any) -> Callable[[Scenario], Scenario]:
    """Register a scenario as a row.  ``fields``: those of Row."""

    def register(scenario: Scenario) -> Scenario:
        assert row_id not in ROWS, f"{row_id} is there twice"
        ROWS[row_id] = Row(id=row_id, title=title, scenario=scenario, **fields)
        return scenario

    return register
