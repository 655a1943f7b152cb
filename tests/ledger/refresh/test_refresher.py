"""Refreshing from a real server: what is asked, what counts afterwards, and what is remembered."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from ledger.adapters import artificial_analysis, helios, openrouter
from ledger.errors import LedgerUnavailable, SourceUnreadable
from ledger.refresh.folder import Folder
from ledger.refresh.refresher import Outcome, Refresher
from ledger.refresh.schedule import DAY_US, US_PER_S
from ledger.refresh.source import Source
from proxy.facts.web import HttpxWeb
from tests.ledger.refresh.memory_facts import MemoryFacts
from tests.ledger.refresh.publisher import Asked, Publisher

START_US = 20_000 * DAY_US


def models(count: int, *, price: str = "0.000001", index: float = 40) -> bytes:
    rows = [
        {
            "id": f"acme/m{at}",
            "pricing": {"prompt": price, "completion": price},
            "benchmarks": {"artificial_analysis": {"intelligence_index": index}},
        }
        for at in range(count)
    ]
    return json.dumps({"data": rows}).encode()


class Clock:
    def __init__(self) -> None:
        self.now_us = START_US

    def __call__(self) -> int:
        return self.now_us


class Bench:
    """A refresher of one source, its store and its clock; ``again`` is the next process on the same folder."""

    def __init__(self, publisher: Publisher, client: httpx.AsyncClient, path: Path, clock: Clock, **changes: Any) -> None:
        self.store = MemoryFacts()
        self.clock = clock
        self.folder = Folder(path)
        source = Source(name="openrouter", urls=(publisher.url,), parse=openrouter.parse, every_s=3600, requests_per_day=100)
        self.source = replace(source, **changes)
        web = HttpxWeb(client, clock, total_s=5)
        self.refresher = Refresher((self.source,), web, self.store, self.folder, clock_us=clock, chance=lambda: 0.5)

    async def refresh(self, *, forced: bool = True, dry_run: bool = False) -> Outcome:
        (outcome,) = await self.refresher.refresh(forced=forced, dry_run=dry_run)
        return outcome


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(models(10)) as publisher:
        yield publisher


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


@pytest.fixture
def bench(publisher: Publisher, client: httpx.AsyncClient, tmp_path: Path) -> Bench:
    return Bench(publisher, client, tmp_path, Clock())


async def test_a_first_refresh_takes_everything_in(bench: Bench, publisher: Publisher) -> None:
    outcome = await bench.refresh()

    assert (outcome.status, outcome.rows, outcome.prices, outcome.readings) == ("updated", 10, 10, 10)
    assert len(bench.store.readings) == 10
    assert publisher.asked[0].headers["user-agent"].startswith("tollway/")


async def test_what_a_source_says_no_longer_is_taken_back(bench: Bench, publisher: Publisher) -> None:
    await bench.refresh()
    publisher.body = models(9)

    outcome = await bench.refresh()

    assert outcome.status == "updated"
    assert len(bench.store.readings) == 9


async def test_what_has_not_changed_is_asked_for_conditionally_and_not_read_again(bench: Bench, publisher: Publisher) -> None:
    await bench.refresh()

    outcome = await bench.refresh()

    assert outcome.status == "unchanged"
    assert publisher.asked[1].headers["if-none-match"]
    assert publisher.asked[1].headers["if-modified-since"] == "Sun, 22 Nov 2026 09:00:00 GMT"


async def test_the_same_bytes_without_an_etag_have_not_changed_either(bench: Bench, publisher: Publisher) -> None:
    publisher.respond = lambda _: (200, {}, publisher.body)
    await bench.refresh()

    assert (await bench.refresh()).status == "unchanged"


async def test_in_the_background_a_source_is_asked_only_when_it_is_due(bench: Bench, publisher: Publisher) -> None:
    statuses = []
    for passed_s in (0, 1800, 1800):
        bench.clock.now_us += passed_s * US_PER_S
        statuses.append((await bench.refresh(forced=False)).status)

    assert statuses == ["updated", "skipped", "unchanged"]
    assert len(publisher.asked) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (models(6), "about 6 models, where there were 10"),
        (models(10, price="0.0000000001"), "a price is more than 10 times"),
        (models(10, index=0), "it has 0 readings, where there were 10"),
        (b'{"data": []}', "nothing in it"),
    ],
)
async def test_what_looks_wrong_is_put_aside_and_what_was_good_goes_on(
    bench: Bench, publisher: Publisher, body: bytes, said: str
) -> None:
    await bench.refresh()
    known = dict(bench.store.readings)
    publisher.body = body

    outcome = await bench.refresh()

    assert outcome.status == "put_aside"
    assert said in outcome.detail
    assert bench.store.readings == known
    assert bench.folder.payload("openrouter") == models(10)
    assert [it.source for it in (await bench.refresher.status()).aside] == ["openrouter"]


async def test_what_was_put_aside_counts_once_somebody_accepts_it(bench: Bench, publisher: Publisher) -> None:
    await bench.refresh()
    publisher.body = models(6)
    await bench.refresh()
    await bench.refresh()
    (aside,) = (await bench.refresher.status()).aside

    accepted = await bench.refresher.accept(aside.id)

    assert accepted is not None
    assert accepted.status == "updated"
    assert bench.folder.payload("openrouter") == models(6)
    assert (await bench.refresher.status()).aside == ()
    assert await bench.refresher.accept(aside.id) is None
    assert (await bench.refresh()).status == "unchanged"


async def test_a_changed_version_of_the_index_waits_for_somebody(
    publisher: Publisher, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    bench = Bench(publisher, client, tmp_path, Clock(), name="artificial_analysis", parse=artificial_analysis.parse)

    def page(version: str) -> bytes:
        row = {"slug": "m", "evaluations": {"artificial_analysis_intelligence_index": 50}}
        return json.dumps({"intelligence_index_version": version, "data": [row]}).encode()

    publisher.body = page("4.0")
    await bench.refresh()
    publisher.body = page("4.1")

    outcome = await bench.refresh()

    assert outcome.status == "put_aside"
    assert "version of its indices is 4.1, where it was 4.0" in outcome.detail
    assert {it.source_version for it in bench.store.readings} == {"4.0"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (500, {}, b"", "it answered 500"),
        (401, {}, b"", "does not take the key"),
        (302, {"location": "https://elsewhere.example/"}, b"", "redirects are not followed"),
        (200, {}, b"<html>", "web page"),
        (200, {}, models(10)[:100], "not JSON"),
        (304, {}, b"", "it answered 304"),
    ],
)
async def test_a_failure_is_said_and_tried_again_later(
    bench: Bench, publisher: Publisher, status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    publisher.respond = lambda _: (status, headers, body)

    failed = await bench.refresh()
    soon = await bench.refresh(forced=False)

    assert (failed.status, soon.status) == ("failed", "skipped")
    assert said in failed.detail
    assert bench.folder.state().sources["openrouter"].failures == 1


async def test_retry_after_is_kept_to_also_by_the_next_process(
    bench: Bench, publisher: Publisher, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    publisher.respond = lambda _: (429, {"retry-after": "600"}, b"")
    await bench.refresh()
    publisher.respond = publisher.politely

    again = Bench(publisher, client, tmp_path, bench.clock)
    held = await again.refresh()
    bench.clock.now_us += 600 * US_PER_S
    after = await again.refresh()

    assert (held.status, after.status) == ("skipped", "updated")
    assert "left alone for another 10 min" in held.detail


async def test_the_budget_of_the_day_outlives_the_process(
    publisher: Publisher, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    clock = Clock()

    async def status() -> str:
        return (await Bench(publisher, client, tmp_path, clock, requests_per_day=2).refresh()).status

    today = [await status() for _ in range(4)]
    clock.now_us += DAY_US
    tomorrow = await status()

    assert (today, tomorrow) == (["updated", "unchanged", "skipped", "skipped"], "unchanged")
    assert len(publisher.asked) == 3


async def test_a_server_that_has_no_requests_left_for_us_is_believed(bench: Bench, publisher: Publisher) -> None:
    publisher.respond = lambda _: (200, {"x-ratelimit-remaining": "0"}, publisher.body)

    first, second = await bench.refresh(), await bench.refresh()

    assert (first.status, second.status) == ("updated", "skipped")
    assert "used up" in second.detail


async def test_five_failures_open_the_breaker_and_an_answer_closes_it(bench: Bench, publisher: Publisher) -> None:
    publisher.respond = lambda _: (500, {}, b"")
    outcomes = [await bench.refresh() for _ in range(5)]
    bench.clock.now_us += 1800 * US_PER_S
    held = await bench.refresh(forced=False)
    publisher.respond = publisher.politely
    bench.clock.now_us += 2200 * US_PER_S
    probe = await bench.refresh(forced=False)

    assert [("breaker is open" in it.detail) for it in outcomes] == [False, False, False, False, True]
    assert (held.status, probe.status) == ("skipped", "updated")
    assert bench.folder.state().sources["openrouter"].failures == 0


async def test_pages_are_followed_and_the_key_goes_with_each(
    publisher: Publisher, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    def paged(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        page = int(asked.path.partition("page=")[2] or 1)
        body = {"pagination": {"page": page, "total_pages": 3, "has_more": page < 3}, "data": [{"slug": f"m{page}"}]}
        return 200, {}, json.dumps(body).encode()

    publisher.respond = paged
    bench = Bench(publisher, client, tmp_path, Clock(), name="artificial_analysis", paged=True,
                  parse=artificial_analysis.parse, headers=(("x-api-key", "secret-key"),))  # fmt: skip

    outcome = await bench.refresh()

    assert (outcome.status, outcome.rows, outcome.problems) == ("updated", 3, ())
    assert [asked.path for asked in publisher.asked] == ["/models", "/models?page=2", "/models?page=3"]
    assert {asked.headers["x-api-key"] for asked in publisher.asked} == {"secret-key"}
    assert "secret-key" not in repr(bench.source)
    assert "secret-key" not in str(bench.folder.state())


async def test_pages_end_with_the_budget(publisher: Publisher, client: httpx.AsyncClient, tmp_path: Path) -> None:
    publisher.body = b'{"pagination": {"has_more": true}, "data": []}'
    bench = Bench(publisher, client, tmp_path, Clock(), paged=True, requests_per_day=4, parse=artificial_analysis.parse)

    outcome = await bench.refresh()

    assert outcome.status == "failed"
    assert "used up before the last page" in outcome.detail
    assert len(publisher.asked) == 4


async def test_a_dry_run_keeps_nothing_but_that_a_request_was_sent(bench: Bench) -> None:
    outcome = await bench.refresh(dry_run=True)

    assert (outcome.status, outcome.rows) == ("would_update", 10)
    assert bench.store.readings == {}
    assert bench.folder.payload("openrouter") is None
    assert bench.folder.state().sources["openrouter"].requests == 1


async def test_two_refreshes_at_once_are_one(bench: Bench, publisher: Publisher) -> None:
    def ticking(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        bench.clock.now_us += US_PER_S
        return publisher.politely(asked)

    publisher.respond = ticking

    outcomes = await asyncio.gather(bench.refresh(), bench.refresh(), bench.refresh())

    assert sorted(it.status for it in outcomes) == ["skipped", "skipped", "updated"]
    assert len(publisher.asked) == 1


async def test_another_process_that_refreshes_is_not_disturbed(bench: Bench) -> None:
    with bench.folder.alone(), pytest.raises(LedgerUnavailable, match="another process"):
        await bench.refresh()

    assert (await bench.refresh()).status == "updated"


async def test_the_next_process_begins_with_what_was_good(
    bench: Bench, publisher: Publisher, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await bench.refresh()
    bench.clock.now_us += DAY_US
    again = Bench(publisher, client, tmp_path, bench.clock)

    kept = await again.refresher.restore({})

    assert kept == 1
    assert again.store.readings == bench.store.readings
    assert len(publisher.asked) == 1


async def test_a_last_known_good_payload_that_is_damaged_is_no_reason_not_to_start(bench: Bench) -> None:
    await bench.refresh()
    bench.folder.keep("openrouter", b"{")

    assert await bench.refresher.restore({}) == 0
    assert (await bench.refresh()).status == "unchanged"


ENVELOPE = json.dumps(
    {
        "schema": "tollway.benchmarks/1",
        "harness": {"name": "h"},
        "observed_at": "2020-01-01T00:00:00Z",
        "results": [{"model": "m", "metric": "task_completion_rate", "passed": 1, "n": 2}],
    }
).encode()


async def test_a_harness_file_is_taken_in_and_is_there_after_a_restart(
    bench: Bench, publisher: Publisher, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    parsed, ingested = await bench.refresher.take("helios", helios.parse, ENVELOPE)
    again = Bench(publisher, client, tmp_path, Clock())

    kept = await again.refresher.restore({"helios": helios.parse})

    assert ingested is not None
    assert (len(parsed.readings), ingested.kept, kept) == (1, 1, 1)
    assert again.store.readings == bench.store.readings


async def test_a_harness_file_that_is_only_looked_at_is_not_kept(bench: Bench) -> None:
    parsed, ingested = await bench.refresher.take("helios", helios.parse, ENVELOPE, keep=False)

    assert (len(parsed.readings), ingested, bench.store.readings) == (1, None, {})
    assert list(bench.folder.imports()) == []
    with pytest.raises(SourceUnreadable):
        await bench.refresher.take("helios", helios.parse, b"<html>")
