"""Is there money for it?"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.budgets.accounts import USD
from proxy.call import Call, Reply, Tier
from proxy.metering.holds import Holds, price_unknown
from proxy.stage import Service


class Budget:
    """Admit a request by reserving the most that its first try can cost, in every budget that counts it or in none.

    What it holds is extended by ``fallback`` for each further try, and let go of by ``meter`` when its end is written.
    Under a budget of money, deployments without a known price are left out, whatever ``ledger.unknown_price`` says.

    Reads: principal, tiers, body, head.   Writes: tiers.   Raises: 429, when a budget has no room; 400, without a price.
    Config: budgets, reservations.
    """

    def __init__(self, holds: Holds) -> None:
        self._holds = holds

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        lines = self._holds.lines(call)
        if not lines:
            return await next(call)
        if any(line.unit == USD for line in lines):
            call = self._priced(call)
        deployments = call.tiers[0].deployments if call.tiers else ()
        hold = await self._holds.admit(call, lines, deployments)
        reply = await next(call)
        for text in self._holds.warnings(hold):
            reply.headers.append((b"x-tollway-budget-warning", text.encode("ascii", "backslashreplace")))
        return reply

    def _priced(self, call: Call) -> Call:
        """The call without the deployments whose price is unknown.  Raises: PriceUnknown, if nothing is left."""
        known = self._holds.price_is_known
        if all(known(call, it) for tier in call.tiers for it in tier.deployments):
            return call
        priced = ((tier.name, tuple(it for it in tier.deployments if known(call, it))) for tier in call.tiers)
        tiers = tuple(Tier(name=name, deployments=deployments) for name, deployments in priced if deployments)
        if not tiers:
            raise price_unknown(call)
        return replace(call, tiers=tiers)
