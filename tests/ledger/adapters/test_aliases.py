"""The table of aliases as a file."""

from pathlib import Path

import pytest

from ledger.adapters import aliases
from ledger.errors import FactsUnreadable


def test_the_table_that_comes_with_the_release_is_read() -> None:
    table = aliases.load()

    assert len(table.aliases) > 100
    assert "openai/gpt-4o" in table.dated


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"reviewed": "", "dated": [], "aliases": [{"model": "x"}]}',
        '{"reviewed": "", "dated": [], "aliases": [], "x": 1}',
    ],
)
def test_a_table_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "aliases.json"
    file.write_text(text)

    with pytest.raises(FactsUnreadable, match=r"aliases\.json"):
        aliases.load(file)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FactsUnreadable):
        aliases.load(tmp_path / "nothing.json")
