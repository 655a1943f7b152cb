"""The store of facts that is in memory."""

from pathlib import Path

from ledger.adapters import artificial_analysis
from ledger.adapters.memory_facts import MemoryFacts

RECORDED = Path(__file__).parent / "data" / "llms-models-2026-05-07.json"


async def test_the_same_again_changes_nothing() -> None:
    store = MemoryFacts()
    parsed = artificial_analysis.parse(RECORDED.read_bytes(), fetched_at_us=1)

    first, second = await store.ingest(parsed), await store.ingest(parsed)

    assert (first.inserted, first.duplicates) == (len(parsed.readings), 0)
    assert (second.inserted, second.duplicates) == (0, len(parsed.readings))
    assert len(store.readings) == len(parsed.readings)
