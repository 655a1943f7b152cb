"""What holding back costs a request: CPU time of one call, the best of several rounds.

``python -m benchmarks.micro.limits [--rounds 7] [--seconds 0.1]``

The stage's own answer is the next one, which returns at once; what that costs alone is subtracted.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

from benchmarks.micro.stages import ANSWER, Step, best_us, chat, finished
from providers.openai.vendors import VENDORS
from providers.provider import Upstream
from providers.usage import Usage
from proxy.api.door import Door, Turns
from proxy.call import Attempt, Call, Completed, Deployment, Head, Principal, Rates, Reply, Tier
from proxy.limits.accounts import AccountLimits, Policy
from proxy.limits.overload import Bounds, Overload
from proxy.limits.queue import FairQueue
from proxy.limits.rates import Declared, RateBook
from proxy.stages.rate_limiter import Enforcement, RateLimiter
from proxy.stores.memory_buckets import MemoryBuckets

PLENTY = Rates(requests_per_minute=10**9, tokens_per_minute=10**9, concurrent=10**6)
UPSTREAM = Upstream(provider="openai", account="default", vendor=VENDORS["openai"], base_url="https://api.openai.com/v1")
DEPLOYMENT = Deployment(upstream=UPSTREAM, model="gpt-4o-mini")
TRIED = Attempt(
    number=1,
    deployment=DEPLOYMENT,
    started_us=0,
    duration_us=900_000,
    ttfb_us=890_000,
    status=200,
    outcome="ok",
    may_cost=True,
    usage=Usage(input_uncached=19, output_text=17),
)


def clock_us() -> int:
    """As the running proxy has it."""
    return time.monotonic_ns() // 1000


def calling(principal: Principal) -> Call:
    """A chat request of 300 bytes that has been tried."""
    return Call(
        id="req_0123456789abcdef00000001",
        endpoint="chat/completions",
        authorization=(),
        body=chat(300),
        head=Head(model="openai/gpt-4o-mini"),
        received_us=0,
        started_s=0.0,
        headers=((b"host", b"127.0.0.1"), (b"accept", b"*/*"), (b"content-type", b"application/json")) * 4,
        principal=principal,
        tiers=(Tier(name="openai/gpt-4o-mini", deployments=(DEPLOYMENT,)),),
        trail=[TRIED],
    )


async def answer(_: Call, /) -> Reply:
    """The next stage."""
    return Completed(status=200, headers=[], body=ANSWER)


def stage(principal: Principal, declared: Declared, *, queue: FairQueue | None = None) -> Step:
    """The rate limiter for one caller."""
    limiter = RateLimiter(
        MemoryBuckets(clock_us),
        RateBook(declared, burst_s=60),
        enforcement=Enforcement(),
        queue=queue,
        clock_s=time.monotonic,
    )
    call = calling(principal)
    return lambda: finished(limiter(call, answer))


def account(rates: Rates | None) -> Callable[[], None]:
    """Room at an account, and its end."""
    limits = AccountLimits(Policy(rates={("openai", "default"): rates} if rates else {}), clock_us)
    call = calling(Principal(key_id="key_1", name="bench"))

    def step() -> None:
        found = limits.first(call, (DEPLOYMENT,))
        assert found is not None
        found[1].end(TRIED)

    return step


def sent_away(*, heads: int) -> Callable[[], None]:
    """A request at the door of a gateway that is full.   heads: how many different ones there are."""
    overload = Overload(Bounds(requests=1))
    door = Door(
        overload,
        identify=lambda _: Principal(key_id="key_1", name="bench"),
        at_work=lambda: 1,
        request_id=lambda: "req_0123456789abcdef00000001",
        turns=Turns(time.thread_time, overload.turned),
    )
    body = chat(300)
    numbers = itertools.count()

    def step() -> None:
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer tw-0123456789abcdef\r\n"
            b"X-Number: %d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (next(numbers) % heads, len(body))
        )
        assert door.judge(head + body)

    return step


def steps() -> list[tuple[str, Step, float | None]]:
    """Name, what to call, and the most it may cost, where something is promised."""
    key = Principal(key_id="key_1", name="bench")
    owned = Principal(key_id="key_1", name="bench", user="ann", team="red")
    everything = Declared(
        default=PLENTY, gateway=PLENTY, users={"ann": PLENTY}, teams={"red": PLENTY}, models={"openai/gpt-4o-mini": PLENTY}
    )
    queue = FairQueue(wait_max_s=1, length_max=1_000)
    overload = Overload(Bounds())
    call = calling(key)
    return [
        ("nothing is limited", stage(key, Declared()), 2.0),
        ("a key's requests, tokens and concurrency", stage(key, Declared(default=PLENTY)), 15.0),
        ("the same, with a queue", stage(key, Declared(default=PLENTY), queue=queue), 15.0),
        ("key, user, team, model and gateway: 15 buckets", stage(owned, everything), None),
        ("account: adaptive only", account(None), None),
        ("account: all limits", account(PLENTY), None),
        ("overload: not pressed", lambda: overload.is_pressed(100), None),
        ("overload: sent away, the same client again", sent_away(heads=1), None),
        ("overload: sent away, another one each time", sent_away(heads=100_000), None),
        ("(the next stage alone)", lambda: finished(answer(call)), None),
    ]


def main() -> str | None:
    """Print a line for each step.  Returns what is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a round is (default 0.1)")
    arguments = parser.parse_args()
    made = steps()
    spent = [best_us(call, rounds=arguments.rounds, seconds=arguments.seconds) for _, call, _ in made]
    over = []
    for index, ((name, _, most_us), whole_us) in enumerate(zip(made, spent, strict=True)):
        own_us = whole_us - spent[-1] if index < 4 else whole_us
        print(f"{name:48s} {own_us:8.2f} us" + (f"   at most {most_us:g}" if most_us else ""))
        if most_us is not None and own_us > most_us:
            over.append(name)
    return f"too slow: {', '.join(over)}" if over else None


if __name__ == "__main__":
    raise SystemExit(main())
