"""What budgets cost a request: CPU time from its admission to the end of what it holds, without the journal.

``python -m benchmarks.micro.budgets [--rounds 7] [--seconds 0.1]``

As the running proxy calls it: the stage, the reservation of one try, the lease, and the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks.micro.stages import UPSTREAM, best_us, chat, finished
from ledger.budgets.accounts import Accounts
from ledger.records import Bounds, Budget
from proxy.api import gate
from proxy.api.weight import weigh
from proxy.app import price_book
from proxy.call import Call, Completed, Deployment, Principal, Reply, Tier
from proxy.config import Config
from proxy.metering.holds import Holds
from proxy.metering.leases import Leases, Try
from proxy.metering.worst_case import Assumptions, WorstCases
from proxy.stage import compose
from proxy.stages.budget import Budget as BudgetStage

DEPLOYMENT = Deployment(upstream=UPSTREAM, model="gpt-4o-mini")
PRINCIPAL = Principal(key_id="key_0123456789abcdef", name="bench", user="alice", team="search")
SCOPES = ("key:key_0123456789abcdef", "user:alice", "team:search")
NOW_US = 1_795_000_000_000_000
MONTHLY_NUSD = 10**15


class House:
    """What a request goes through that has to do with budgets.  scopes: so many budgets of a month, one for each."""

    def __init__(self, scopes: int) -> None:
        self.accounts = Accounts()
        for scope in SCOPES[:scopes]:
            self.accounts.put(Budget(id=scope, scope=scope, unit="usd", period="month", limit=MONTHLY_NUSD), NOW_US)
            self.accounts.seed(scope, ())
        bounds = Bounds(input_tokens=128_000, output_tokens=16_384)
        worst_cases = WorstCases(price_book(Config()), bounds=lambda *_: bounds, assumptions=Assumptions())
        self.holds = Holds(self.accounts, worst_cases, wait_s=2.0)
        self.leases = Leases()
        body = chat(300)
        self.call = Call(
            id="req_0123456789abcdef00000001",
            endpoint="chat/completions",
            authorization=(),
            body=body,
            head=gate.admit(body),
            received_us=NOW_US,
            started_s=0.0,
            principal=PRINCIPAL,
            tiers=(Tier(name="openai/gpt-4o-mini", deployments=(DEPLOYMENT,)),),
        )
        self._service = compose((BudgetStage(self.holds),), self._try)

    async def _try(self, call: Call, /) -> Reply:
        terms = self.holds.reserve(call, 1, DEPLOYMENT)
        self.leases.begin(call, 1, Try(DEPLOYMENT, NOW_US, terms.max_cost_nusd))
        return Completed(status=200, headers=[], body=b"")

    def request(self) -> None:
        """One request, from the stage to its written end."""
        call = self.call
        finished(self._service(call))
        ending = self.holds.ending(call)
        self.leases.end(call.id)
        if ending is not None:
            self.holds.ended(call.id, ending, (100_000, 1200, 1))


def steps() -> list[tuple[str, Callable[[], object]]]:
    """Name, and what to call."""
    parsed = {"model": "m", "messages": [{"role": "user", "content": "hello"}] * 10, "temperature": 0.7}
    held = House(3)
    finished(held._service(held.call))
    return [
        ("weigh, ten messages", lambda: weigh(parsed)),
        ("a request, no budget at all", House(0).request),
        ("a request, one scope", House(1).request),
        ("a request, three scopes", House(3).request),
        ("overrun, a stream of three scopes", lambda: held.holds.overrun(held.call, 1, DEPLOYMENT, 100)),
    ]


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a round is (default 0.1)")
    arguments = parser.parse_args()
    for name, call in steps():
        print(f"{name:46s} {best_us(call, rounds=arguments.rounds, seconds=arguments.seconds):9.2f} us")


if __name__ == "__main__":
    main()
