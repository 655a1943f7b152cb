"""What every journal does, the one in a file and the one that tests of the pipeline use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import EntryRefused
from ledger.ports import Entry, JournalPort
from ledger.records import Adjustment, By, Progress, Tokens
from tests.ledger.samples import record, reservation, settlement, void
from tests.proxy.scripted import MemoryJournal

HOUR_US = 3_600_000_000
EVER_US = 2**62
BYS: tuple[By, ...] = ("key", "user", "team", "model", "provider", "tag")


@pytest.fixture(params=["file", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JournalPort]:
    if request.param == "memory":
        yield MemoryJournal(strict=True)
        return
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def adjustment(request_id: str = "req_1", cost_nusd: int = 5, evidence: str = "report") -> Adjustment:
    return Adjustment(request_id=request_id, attempt=1, at_us=9, cost_nusd=cost_nusd, reason="report", evidence=evidence)


async def cost(journal: JournalPort) -> int | None:
    (row,) = await journal.usage("provider", since_us=0, until_us=EVER_US, key_id=None)
    return row.cost_nusd


async def test_a_record_comes_back_as_it_was_and_what_is_not_there_is_none(journal: JournalPort) -> None:
    written = record(user="ann", team="search", tags=("a", "b"), cache="hit", saved_nusd=7, cost_nusd=0)

    await journal.write([written])

    assert await journal.request("req_1") == written
    assert await journal.request("req_2") is None


async def test_the_same_entries_twice_are_one(journal: JournalPort) -> None:
    entries: list[Entry] = [reservation(), settlement(), record()]

    for _ in range(2):
        await journal.write(entries)
        await journal.write([adjustment()])

    assert await cost(journal) == 4_250_005


async def test_the_first_end_and_the_first_record_count(journal: JournalPort) -> None:
    await journal.write([reservation()])
    await journal.write([settlement(), record()])

    await journal.write([void(), record(cost_nusd=1, outcome="other")])

    assert await journal.request("req_1") == record()


async def test_each_evidence_adjusts_once(journal: JournalPort) -> None:
    await journal.write([reservation(), settlement(), record()])

    for evidence in ("one", "two", "one"):
        await journal.write([adjustment(evidence=evidence, cost_nusd=-10)])

    assert await cost(journal) == 4_249_980
    assert [await journal.adjusted_nusd(it) for it in ("req_1", "req_2")] == [-20, 0]


@pytest.mark.parametrize("wrong", [settlement("other"), void("other"), adjustment("other")], ids=lambda it: type(it).__name__)
async def test_an_end_without_its_beginning_is_refused_with_all_that_came_with_it(journal: JournalPort, wrong: Entry) -> None:
    with pytest.raises(EntryRefused):
        await journal.write([record(), wrong])

    assert await journal.request("req_1") is None


async def test_what_began_and_ended_in_one_write_is_whole(journal: JournalPort) -> None:
    await journal.write([record(), settlement(), reservation()])

    assert await cost(journal) == 4_250_000


async def test_usage_is_of_whole_hours_and_of_one_key_or_of_all(journal: JournalPort) -> None:
    await journal.write(
        [record(str(n), at_us=n * HOUR_US + 5, key_id=f"key_{n % 2}", cost_nusd=1 << n, tags=("t",)) for n in range(6)]
    )

    async def told(by: By, **limits: Any) -> list[tuple[str, int | None]]:
        rows = await journal.usage(by, **{"since_us": 0, "until_us": EVER_US, "key_id": None, **limits})
        return [(row.group, row.cost_nusd) for row in rows]

    assert await told("key") == [("key_1", 42), ("key_0", 21)]
    assert await told("tag", key_id="key_1") == [("t", 42)]
    assert await told("key", since_us=2 * HOUR_US + 9, until_us=4 * HOUR_US + 9) == [("key_1", 8), ("key_0", 4)]


async def test_a_note_of_progress_neither_waits_nor_fails(journal: JournalPort) -> None:
    journal.progress([Progress(request_id="req_1", attempt=1, output_tokens=5)])
    await journal.write([reservation()])

    assert await journal.request("req_1") is None


RECORDS = st.lists(
    st.builds(
        lambda **fields: fields,
        at_us=st.integers(0, 10 * HOUR_US),
        key_id=st.sampled_from(["k", "l"]),
        user=st.sampled_from(["", "ann"]),
        team=st.sampled_from(["", "search"]),
        tags=st.sampled_from([(), ("a",), ("a", "b")]),
        provider=st.sampled_from(["openai", ""]),
        upstream_model=st.sampled_from(["gpt", ""]),
        outcome=st.sampled_from(["ok", "client_closed", "upstream_error"]),
        quality=st.sampled_from(["exact", "estimated", "held"]),
        tokens=st.builds(Tokens, **dict.fromkeys(Tokens.__struct_fields__, st.integers(0, 1000))),
        cost_nusd=st.none() | st.integers(0, 10**6),
        cache=st.sampled_from(["", "hit"]),
        saved_nusd=st.integers(0, 100),
    ),
    max_size=10,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS)
def test_both_report_the_same(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]) -> None:
    async def reports(journal: JournalPort) -> list[Any]:
        await journal.write([record(str(n), **fields) for n, fields in enumerate(records)])
        found = [await journal.usage(by, since_us=HOUR_US, until_us=9 * HOUR_US, key_id=None) for by in BYS]
        return [sorted(rows, key=lambda row: row.group) for rows in found]

    with SqliteLedger(tmp_path_factory.mktemp("both") / "ledger.sqlite") as ledger:
        in_file = asyncio.run(reports(ledger))
    in_memory = asyncio.run(reports(MemoryJournal(strict=True)))

    assert in_file == in_memory
