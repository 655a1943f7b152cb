"""The store of facts that is in memory."""

from pathlib import Path

from msgspec.structs import replace

from ledger.adapters import artificial_analysis
from ledger.adapters.memory_facts import MemoryFacts

RECORDED = Path(__file__).parent / "data" / "llms-models-2026-05-07.json"


async def test_the_same_again_changes_nothing() -> None:
    store = MemoryFacts()
    parsed = artificial_analysis.parse(RECORDED.read_bytes(), fetched_at_us=1)

    first = await store.ingest(parsed, source="artificial_analysis", fetched_at_us=1)
    second = await store.ingest(parsed, source="artificial_analysis", fetched_at_us=1)

    assert (first.kept, second.kept) == (len(parsed.readings), 0)
    assert len(store.readings) == len(parsed.readings)


async def test_what_a_complete_payload_does_not_say_is_taken_back_of_its_source_alone() -> None:
    store = MemoryFacts()
    parsed = artificial_analysis.parse(RECORDED.read_bytes(), fetched_at_us=1)
    other = replace(parsed.readings[0], source="other")
    await store.ingest(parsed, source="artificial_analysis", fetched_at_us=1)
    await store.ingest(replace(parsed, readings=(other,)), source="other", fetched_at_us=1)

    less = replace(parsed, readings=parsed.readings[:10])
    await store.ingest(less, source="artificial_analysis", fetched_at_us=1, complete=True)
    await store.refresh()

    assert set(store.readings) == {*parsed.readings[:10], other}
