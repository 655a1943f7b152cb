"""The entries that end a batch."""

from __future__ import annotations

from pathlib import Path

from ledger.adapters.sqlite import SqliteLedger
from ledger.journal.verify import verify
from ledger.records import RequestRecord, Reservation, Settlement, Tokens
from proxy.batches import booking
from proxy.batches.tally import Sum
from tests.proxy.batches.test_opened import batch

IT = batch("req_1", batch_id="batch_1", user="alice", tags=("t",), reserve=(900, 80, 2))


def sum_(model: str = "gpt", cost_nusd: int | None = 7, **fields: object) -> Sum:
    said = {"answered_model": model, "answers": 1, "tokens": Tokens(input_uncached=3, output_text=2), "price_source": "a list"}
    return Sum(model=model, cost_nusd=cost_nusd, **{**said, **fields})  # type: ignore[arg-type]  # as Sum has them


def of(*sums: Sum, status: str = "completed", exact: bool = True) -> booking.Booking:
    return booking.of_sums(IT, sums, status=status, exact=exact, usage_raw=b"{}", now_us=9)


def test_each_model_has_its_entries() -> None:
    made = of(sum_("a"), sum_("b", None))

    records = [it for it in made.entries if isinstance(it, RequestRecord)]
    assert [type(it) for it in made.entries] == [Reservation, Settlement, RequestRecord] * 2
    assert [(it.request_id, it.model, it.cost_nusd, it.quality) for it in records] == [
        ("req_1-1", "a", 7, "exact"),
        ("req_1-2", "b", None, "exact"),
    ]
    assert {(it.at_us, it.user, it.tags, it.provider) for it in records} == {(1, "alice", ("t",), "openai")}
    assert (made.actual, made.costs_nusd) == ((7, 10, 2), (7, None))
    assert booking.first_id(IT) == "req_1-1"


def test_what_was_guessed_is_estimated() -> None:
    assert [it.quality for it in of(sum_(), exact=False).entries if isinstance(it, RequestRecord)] == ["estimated"]
    assert [it.quality for it in of(sum_(unmetered=1)).entries if isinstance(it, RequestRecord)] == ["estimated"]


def test_a_batch_that_did_nothing_costs_nothing() -> None:
    made = of(status="cancelled")

    (record,) = made.entries
    assert isinstance(record, RequestRecord)
    assert (record.outcome, record.cost_nusd, made.actual) == ("batch_cancelled", 0, (0, 0, 1))


def test_a_batch_of_which_nobody_knows_is_held_at_what_it_reserved() -> None:
    made = booking.of_nobody(IT, outcome="batch_lost", now_us=9)

    settlement = next(it for it in made.entries if isinstance(it, Settlement))
    assert (settlement.quality, settlement.cost_nusd, made.actual) == ("held", 900, (900, 0, 1))
    unknown = booking.of_nobody(batch(), outcome="batch_lost", now_us=9)
    assert (unknown.actual, unknown.costs_nusd) == ((0, 0, 1), (None,))


async def test_a_ledger_takes_them_once_and_is_whole(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.recover()
        for made in (of(sum_("a"), sum_("b", None)), of(sum_("a"), sum_("b", None))):
            await ledger.write(made.entries)
        await ledger.write(booking.of_nobody(batch("req_2"), outcome="batch_lost", now_us=9).entries)
        await ledger.write(booking.of_sums(batch("req_3"), (), status="failed", exact=True, usage_raw=b"", now_us=9).entries)

        found = verify(ledger.path)

    assert (found.faults, found.entries, found.spent_nusd, found.open_attempts) == ((), 6, 7, 0)
