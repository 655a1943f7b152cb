"""The accounts' limits as a gate before each try."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.call import Attempt, Call, Deployment, Gate
from proxy.errors import ProxyError
from proxy.limits.accounts import AccountLimits, Permit


class Room(Gate):
    """Lets a try in if its account has room, and keeps that room for it until it has ended.

    What has waited in the queue enters with the room that it won there.
    """

    def __init__(self, accounts: AccountLimits) -> None:
        self._accounts = accounts
        self._permits: dict[tuple[str, int], Permit] = {}
        self._won: dict[str, tuple[Deployment, Permit]] = {}

    def enter(self, call: Call, number: int, deployment: Deployment, /) -> bool:
        """Whether this try may begin."""
        won = self._won.get(call.id)
        if won is not None and won[0] is deployment:
            permit = self._won.pop(call.id)[1]
        elif (found := self._accounts.first(call, (deployment,))) is not None:
            permit = found[1]
        else:
            return False
        self._permits[call.id, number] = permit
        return True

    def begun(self, call: Call, number: int, deployment: Deployment, ttfb_us: int, /) -> None:
        """Its answer has begun.  How long a stream goes on says nothing more of how busy the account is."""
        permit = self._permits.get((call.id, number))
        if permit is not None and call.head.stream and call.upload is None:
            permit.streams(deployment.model, ttfb_us / 1e6)

    def observe(self, call: Call, attempt: Attempt) -> None:
        """The try has ended; what it used is known now."""
        permit = self._permits.get((call.id, attempt.number))
        if permit is not None:
            # How long a form with files took says how large they were, and nothing of the account.
            permit.is_told = permit.is_told or call.upload is not None
            permit.end(attempt)

    def leave(self, call: Call, number: int, deployment: Deployment, /) -> None:  # noqa: ARG002  # a Gate's
        """It is over, perhaps before it was begun."""
        permit = self._permits.pop((call.id, number), None)
        if permit is not None:
            permit.end(None)

    def refusal(self, call: Call, deployments: Sequence[Deployment], /) -> ProxyError | None:
        """What to tell a client if none of the accounts has room."""
        return self._accounts.refusal(call, deployments)

    async def wait(self, call: Call, deployments: Sequence[Deployment]) -> bool:
        """Wait in the queue for room at one of these; ``False`` if there is room, or no queue.

        What is won is kept for the next ``enter``, and has to be let go of.  Raises: RateLimited, Overloaded.
        """
        if not deployments or not self._accounts.queues or self._accounts.refusal(call, deployments) is None:
            return False
        index, permit = await self._accounts.wait(call, deployments)
        self._won[call.id] = (deployments[index], permit)
        return True

    def let_go(self, call: Call) -> None:
        """Of room that was won and not used."""
        won = self._won.pop(call.id, None)
        if won is not None:
            won[1].end(None)
