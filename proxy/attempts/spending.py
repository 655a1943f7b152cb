"""What each account may spend in a day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from proxy.call import Call, Deployment, Gate
from proxy.errors import NoHealthyUpstream, ProxyError

DAY_US = 86_400_000_000


class Spending(Gate):
    """Passes over accounts that have spent what they may in a day (UTC).

    A try is counted when it is settled, so those under way may go beyond it; one without a known price counts nothing.
    caps_nusd: by provider and account; others are unlimited.  spent_nusd: what they had spent of today before the start.
    """

    def __init__(
        self,
        caps_nusd: Mapping[tuple[str, str], int],
        *,
        spent_nusd: Mapping[tuple[str, str], int] | None = None,
        clock_us: Callable[[], int],
    ) -> None:
        self._caps_nusd = dict(caps_nusd)
        self._clock_us = clock_us
        self._day = clock_us() // DAY_US
        self._spent_nusd = {account: (spent_nusd or {}).get(account, 0) for account in self._caps_nusd}

    def charge(self, deployment: Deployment, cost_nusd: int | None, at_us: int) -> None:
        """A try at a deployment was settled."""
        account = (deployment.upstream.provider, deployment.upstream.account)
        if cost_nusd and account in self._caps_nusd:
            self._turn(at_us)
            self._spent_nusd[account] += cost_nusd

    def spent_nusd(self, provider: str, account: str) -> int | None:
        """What an account has spent today; ``None`` if it may spend what it likes."""
        self._turn(self._clock_us())
        return self._spent_nusd.get((provider, account))

    def spent_out(self) -> list[tuple[str, str]]:
        """The accounts, by provider and name, that may spend nothing more today."""
        self._turn(self._clock_us())
        return [account for account, cap_nusd in self._caps_nusd.items() if self._spent_nusd[account] >= cap_nusd]

    def ready_in_s(self, call: Call, deployment: Deployment, /) -> float:  # noqa: ARG002  # a Gate's
        """Seconds until midnight where the account has spent its share of today."""
        account = (deployment.upstream.provider, deployment.upstream.account)
        cap_nusd = self._caps_nusd.get(account)
        if cap_nusd is None:
            return 0.0
        now_us = self._clock_us()
        self._turn(now_us)
        return 0.0 if self._spent_nusd[account] < cap_nusd else (DAY_US - now_us % DAY_US) / 1e6

    def enter(self, call: Call, number: int, deployment: Deployment, /) -> bool:  # noqa: ARG002  # a Gate's
        """Whether the account may still spend."""
        return self.ready_in_s(call, deployment) == 0

    def refusal(self, call: Call, deployments: Sequence[Deployment], /) -> ProxyError | None:
        """Every account that could answer has spent what it may."""
        waits = [self.ready_in_s(call, it) for it in deployments]
        if not waits or min(waits) == 0:
            return None
        return NoHealthyUpstream("Every account of this model has spent what it may in a day.", retry_after_s=min(waits))

    def _turn(self, now_us: int) -> None:
        day = now_us // DAY_US
        if day > self._day:
            self._day = day
            self._spent_nusd = dict.fromkeys(self._spent_nusd, 0)
