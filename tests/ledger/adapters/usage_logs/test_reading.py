"""What the parsers of logs share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.adapters.usage_logs import scan
from ledger.adapters.usage_logs.reading import Reading, reported_nusd
from tests.ledger.adapters.usage_logs.logs import AGENTS, LOOSE, lines, read


@pytest.mark.parametrize(
    ("said", "nusd"),
    [
        ("$0.07", 70_000_000),
        (0.1, 100_000_000),
        ("1,234.5", 1_234_500_000_000),
        ("Included", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e30", None),
        (True, None),
        (None, None),
    ],
)
def test_a_tools_cost_is_exact_or_none(said: object, nusd: int | None) -> None:
    assert reported_nusd(said) == nusd


@pytest.mark.parametrize(
    ("path", "name"), [("/home/ada/src/engine", "engine"), ("C:\\work\\engine\\", "engine"), ("", ""), ("/", "")]
)
def test_a_project_goes_by_its_last_name(path: str, name: str) -> None:
    assert Reading().place(path) == name


def test_a_state_that_cannot_be_read_is_none() -> None:
    reading = Reading(session="a", model="b", totals={"session": (1,)})

    reading.restore(b"\xff{")

    assert (reading.session, reading.model, reading.totals) == ("", "", {})


@pytest.mark.parametrize("agent", AGENTS)
@given(data=st.data())
def test_nothing_that_a_line_holds_is_raised_and_nothing_negative_comes_out(agent: str, data: st.DataObject) -> None:
    form = scan.FORMATS[agent]
    line = data.draw(st.sampled_from(lines(AGENTS[agent])))
    start = data.draw(st.integers(0, len(line)))
    noise = data.draw(st.sampled_from([b"", b"-", b"9" * 30, b"null", b"[", b"\xff", b"[" * 3000, LOOSE]))
    end = data.draw(st.integers(start, min(len(line), start + 12)))

    events, _ = read(form.lines[".jsonl"], [line[:start] + noise + line[end:]])

    assert [it for it in events if min(it.tokens.input_uncached, it.tokens.output_text, it.tokens.cache_write) < 0] == []
