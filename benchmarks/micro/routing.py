"""What a choice of ``model: auto`` costs in CPU: features, decisions, what is made again when something changes.

``python -m benchmarks.micro.routing``

Made-up models with random scores, prices and speeds, a few of which are measured; the least of several rounds of CPU time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

import msgspec

from ledger.live import LiveView, Value
from proxy.call import RouteField
from proxy.routing.features import Features, features_of
from proxy.routing.live import Live
from proxy.routing.policy import POLICIES
from proxy.routing.receipt import told
from proxy.routing.router import decide
from tests.proxy.routing.worlds import Known, field_of

ROUNDS = 7
ORDINARY = {
    "model": "auto",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Write a Python function that merges two sorted lists and returns the result. " * 6},
    ],
}
LONG = {
    "model": "auto",
    "messages": [{"role": "user" if n % 2 else "assistant", "content": "What is this about? " * 20} for n in range(200)],
}
LIMITS = RouteField(max_cost_nusd=20_000_000, max_latency_ms=20_000, min_quality=0.3)


def main() -> None:
    """Print the figures."""
    for name, body in (("ordinary request", ORDINARY), ("200 messages", LONG)):
        data = msgspec.json.encode(body)
        size = len(data)
        cost_us = least_us(lambda body=body, size=size: features_of("chat/completions", body, size_bytes=size), 500)
        print(f"features     {name:18} {cost_us:7.1f} µs for {len(data):,} bytes")
    features = features_of("chat/completions", ORDINARY, size_bytes=600)
    for count in (50, 500):
        decisions(count, features)


def decisions(count: int, features: Features) -> None:
    """What ``count`` candidates cost."""
    chance = random.Random(7)  # noqa: S311  # figures that are the same every time
    field = field_of({f"model-{number}": known(chance) for number in range(count)})
    measured = {name: metrics(chance) for name in field.names[: count // 5]}
    live = Live(offers=LiveView(offers=measured))
    for name in ("auto", "auto:balanced", "auto:cheap", "auto:best"):
        policy = POLICIES[name]
        cost_us = least_us(lambda policy=policy: decide(field, features, policy, live=live), 200)
        print(f"decide       {count} candidates, {name:13} {cost_us:7.1f} µs")
    cost_us = least_us(lambda: decide(field, features, POLICIES["auto"], live=live, constraints=LIMITS), 200)
    print(f"decide       {count} candidates, with limits   {cost_us:7.1f} µs")
    decision = decide(field, features, POLICIES["auto"], live=live)
    print(
        f"receipt      {count} candidates                {least_us(lambda: told(decision), 5):7.1f} µs, when somebody reads it"
    )

    def anew() -> None:
        decide(field, features, POLICIES["auto"], live=Live(offers=LiveView(offers=measured)))

    print(f"outlook      {count} candidates                {least_us(anew, 5):7.1f} µs, once for each kind and measurement")


def known(chance: random.Random) -> Known:
    """A model of some quality, price and speed."""
    usd = 10 ** chance.uniform(-1.5, 1.2)
    return Known(
        score=chance.uniform(5, 80),
        input_usd=usd,
        output_usd=4 * usd,
        ttft_ms=chance.lognormvariate(6, 0.7),
        tokens_per_s=chance.lognormvariate(4, 0.6),
    )


def metrics(chance: random.Random) -> Mapping[str, Value]:
    """What is measured of one."""
    return {
        "ttft_p50": Value(chance.lognormvariate(6, 0.7), 100),
        "output_tps_p50": Value(chance.lognormvariate(4, 0.6), 100),
        "tokens_out_per_answer": Value(chance.lognormvariate(6, 1), 100),
    }


def least_us(work: Callable[[], object], times: int) -> float:
    """CPU time of one of them in microseconds: of several rounds the quickest."""
    found = []
    for _ in range(ROUNDS):
        began_ns = time.process_time_ns()
        for _ in range(times):
            work()
        found.append((time.process_time_ns() - began_ns) / times / 1e3)
    return min(found)


if __name__ == "__main__":
    main()
