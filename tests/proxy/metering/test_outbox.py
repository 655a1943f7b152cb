"""Ends that the journal refused are handed in again, in order, until they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ledger.errors import EntryRefused
from ledger.ports import Entry
from proxy.metering.outbox import Letter, Outbox
from tests.ledger.samples import record, reservation, settlement
from tests.proxy.house import turn
from tests.proxy.scripted import MemoryJournal


class Story:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done = asyncio.Event()

    def letter(self, request_id: str, entries: Sequence[Entry] | None = None) -> Letter:
        def handed() -> Callable[[], None]:
            self.lines.append(f"handed {request_id}")
            return written

        def written() -> None:
            self.lines.append(f"written {request_id}")
            self.done.set()

        return Letter(
            request_id=request_id,
            entries=entries if entries is not None else (settlement(request_id), record(request_id)),
            power=True,
            handed=handed,
            refused=lambda: self.lines.append(f"refused {request_id}"),
        )


async def test_letters_are_written_in_their_order_and_survive_a_power_cut() -> None:
    story, journal = Story(), MemoryJournal()
    outbox = Outbox(journal)
    outbox.put(story.letter("req_1"))
    outbox.put(story.letter("req_2"))

    done = await outbox.flush()

    assert done
    assert story.lines == ["handed req_1", "written req_1", "handed req_2", "written req_2"]
    assert (len(journal.records), journal.powers, len(outbox)) == (2, [True, True], 0)


async def test_while_the_journal_refuses_letters_are_kept() -> None:
    story = Story()
    outbox = Outbox(MemoryJournal(fails=lambda _: True))
    outbox.put(story.letter("req_1"))

    done = [await outbox.flush(), await outbox.flush()]

    assert done == [False, False]
    assert (story.lines, len(outbox)) == (["handed req_1"] * 2, 1)


async def test_they_are_delivered_by_themselves_as_soon_as_it_takes_them() -> None:
    refusals = iter([True, True, False])
    story = Story()
    outbox = Outbox(MemoryJournal(fails=lambda _: next(refusals)), pause_s=0.001)
    delivering = asyncio.ensure_future(outbox.deliver())
    await turn()

    outbox.put(story.letter("req_1"))
    async with asyncio.timeout(5):
        await story.done.wait()
    delivering.cancel()

    assert story.lines == ["handed req_1"] * 3 + ["written req_1"]


async def test_a_full_outbox_takes_no_more() -> None:
    story = Story()
    outbox = Outbox(MemoryJournal(), room=1)

    assert [outbox.put(story.letter("req_1")), outbox.put(story.letter("req_2"))] == [True, False]


class Choosy(MemoryJournal):
    """Refuses reservations as what no disk would take."""

    async def write(self, entries: Sequence[Entry], /, *, power: bool = False) -> None:
        if any(entry == reservation() for entry in entries):
            raise EntryRefused("no")
        await super().write(entries, power=power)


async def test_what_can_never_be_written_is_given_up_and_keeps_nothing_else_back() -> None:
    story = Story()
    outbox = Outbox(Choosy())
    outbox.put(story.letter("req_1", (reservation(),)))
    outbox.put(story.letter("req_2"))

    done = await outbox.flush()

    assert done
    assert story.lines == ["handed req_1", "refused req_1", "handed req_2", "written req_2"]
