"""What the configuration says is what limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.call import Completed, Reply
from proxy.config import Config, load
from proxy.errors import RateLimited
from proxy.stores.memory_buckets import MemoryBuckets
from proxy.wiring.limiting import Limiting, build
from tests.proxy.samples import call, deployment


def built(folder: Path, text: str) -> Limiting:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    config = load(path, {})
    return build(config, MemoryBuckets(lambda: 0), clock_s=lambda: 0.0, clock_us=lambda: 0)


async def answered(_: object, /) -> Reply:
    return Completed(status=200, headers=[], body=b"")


async def test_without_a_word_nothing_is_limited() -> None:
    made = build(Config(), MemoryBuckets(lambda: 0), clock_s=lambda: 0.0, clock_us=lambda: 0)

    replies = [await made.stage(call(), answered) for _ in range(1_000)]

    assert all(reply.headers == [] for reply in replies)
    assert all(made.accounts.try_acquire(deployment(), 10**9) is not None for _ in range(1_000))
    assert not made.overload.is_pressed(7_999)


@pytest.mark.parametrize("section", ["defaults: {}", "keys: {alice: {}}", "models: {acme/gpt: {}}", "gateway: {}"])
async def test_a_limit_that_is_configured_is_kept(section: str, tmp_path: Path) -> None:
    limit = section.replace("{}", "{requests_per_minute: 2}")
    providers = "providers: {acme: {type: openai, base_url: 'http://h/v1', api_key: sk-acme-0123456789abcdef}}"
    made = built(tmp_path, f"{providers}\nlimits: {{{limit}}}\n")

    for _ in range(2):
        await made.stage(call(), answered)
        made.stage.counts.clear()

    # What was never tried does not count, so the places are taken by hand.
    plan = made.stage._book.plan(call().principal, "acme/gpt")  # type: ignore[arg-type]  # samples have a principal
    assert plan is not None
    await made.stage._buckets.take(plan.limits, (2,))
    with pytest.raises(RateLimited):
        await made.stage(call(), answered)


def test_an_account_has_its_own_limits_or_those_of_its_provider(tmp_path: Path) -> None:
    made = built(
        tmp_path,
        """
providers:
  acme:
    type: openai
    base_url: http://h/v1
    concurrent: 3
    accounts:
      - {name: a, api_key: sk-a-0123456789abcdef, concurrent: 1}
      - {name: b, api_key: sk-b-0123456789abcdef}
""",
    )

    room = {
        name: sum(made.accounts.try_acquire(deployment(account=name), 1) is not None for _ in range(5)) for name in ("a", "b")
    }

    assert room == {"a": 1, "b": 3}


def test_no_lag_is_too_much_where_none_is_bound(tmp_path: Path) -> None:
    made = built(tmp_path, "limits: {overload: {max_lag_ms: 0}}")

    for _ in range(1_000):
        made.overload.measured(60.0, 60.0, 0)

    assert not made.overload.is_late
