"""What the live metrics cost: a try, a view of them, and what is kept of them.

``python -m benchmarks.micro.live [--offers 50] [--rounds 7]``

CPU time on one thread, the best of several rounds.  The offers have a week of traffic behind them: every slice of every window
is filled.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.live import LiveMetrics
from ledger.records import Settlement, Tokens
from proxy.call import Attempt, Call, Deployment
from proxy.disk.home import Home
from proxy.facts.live import FILE, Live
from tests.proxy.samples import attempt, call, deployment

WEEK_S = 604_800
TRIES = 2_000
HOSTS = 5
"""Of each model."""
SETTLEMENT = Settlement(
    request_id="req_1",
    attempt=1,
    at_us=1,
    quality="exact",
    tokens=Tokens(input_uncached=700, cache_read=200, output_text=300),
    cost_nusd=5_000,
    price_source="a list",
)


class Clock:
    """A wall clock that is set by hand."""

    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def best_us(work: Callable[[], object], rounds: int) -> float:
    """The least CPU time of the work, in microseconds."""
    found = []
    for _ in range(rounds):
        began_s = time.thread_time()
        work()
        found.append(time.thread_time() - began_s)
    return min(found) * 1e6


def tries(offers: list[Deployment], chance: random.Random) -> list[tuple[Call, Attempt]]:
    """Tries at the offers, as long as such things are."""
    made = call(fields={"stream": True})
    return [
        (
            made,
            attempt(
                deployment=offers[index % len(offers)],
                duration_us=round(chance.lognormvariate(15, 0.5)),
                ttfb_us=round(chance.lognormvariate(13, 0.5)),
            ),
        )
        for index in range(TRIES)
    ]


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--offers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    chance, clock = random.Random(1), Clock()  # noqa: S311  # the same samples each time
    offers = [deployment(f"acme-{number % HOSTS}/gpt-{number // HOSTS}") for number in range(options.offers)]
    resolver = Resolver(aliases.load())
    with TemporaryDirectory() as folder:
        live = Live(Home(Path(folder)), lambda: resolver, clock)
        samples = tries(offers, chance)

        def feed() -> None:
            for made, done in samples:
                live.observe(made, done, SETTLEMENT)

        for _ in range(7 * 48):
            clock.now_s += WEEK_S / (7 * 48)
            feed()
        for _ in range(200):
            clock.now_s += 30
            feed()
        print(f"a try                              {best_us(feed, options.rounds) / TRIES:8.2f} µs")
        whole_us = best_us(lambda: list(live._views.renew(all_of=True)), options.rounds)
        print(f"a view, an offer of a week         {whole_us / len(offers):8.1f} µs  ({len(offers)} offers, all anew)")

        def touch() -> None:
            live.observe(*samples[0], SETTLEMENT)
            list(live._views.renew())

        print(f"a view, one offer changed          {best_us(touch, options.rounds):8.1f} µs")
        view = live.view

        def look() -> None:
            for _ in range(1_000):
                view.by_offer("acme-1/gpt-5")
                view.values[("openai/gpt-5@acme-1", "ttft_p50")]

        print(f"two look-ups                       {best_us(look, options.rounds) / 1_000:8.3f} µs")
        pieces = list(live.metrics.pieces())
        longest_us = best_us(lambda: list(live.metrics.pieces()), options.rounds) / len(pieces)
        print(f"what is kept, of an offer          {longest_us:8.1f} µs  ({sum(map(len, pieces)) / len(offers) / 1e3:.0f} kB)")
        data = b"".join(pieces)
        Home(Path(folder)).replace(FILE, data)
        load_us = best_us(lambda: LiveMetrics(clock).load(data), options.rounds)
        print(f"loading it, of an offer            {load_us / len(offers):8.1f} µs")


if __name__ == "__main__":
    main()
