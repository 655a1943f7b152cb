"""Requests whose reservations have no end yet, and which of them should have had one long ago."""

from __future__ import annotations

from collections.abc import Container

import msgspec

from ledger.records import Settlement
from proxy.call import Attempt, Call, Deployment

INTERRUPTED = "interrupted"


class Try(msgspec.Struct, frozen=True):
    """A reserved try.  max_cost_nusd: what it reserved, ``None`` if its price is unknown."""

    deployment: Deployment
    reserved_us: int
    max_cost_nusd: int | None


class Lease:
    """One request's reservations, by the number of the try.

    ended: those of a session whose end is written already.
    """

    __slots__ = ("call", "ended", "tries")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.ended: dict[int, Settlement] = {}
        self.tries: dict[int, Try] = {}

    def lapse(self, output_tokens: int | None) -> None:
        """Put the tries that nobody told the end of on the trail, as cut off.

        output_tokens: how far its stream was known to have come; ``None``: nothing was heard of it.
        """
        told = {attempt.number for attempt in self.call.trail}
        for number, it in self.tries.items():
            if number not in told:
                self.call.trail.append(
                    Attempt(
                        number=number,
                        deployment=it.deployment,
                        started_us=it.reserved_us,
                        duration_us=0,
                        ttfb_us=None,
                        status=None if output_tokens is None else 200,
                        outcome=INTERRUPTED,
                        may_cost=True,
                        fault="gateway",
                        output_estimate=output_tokens or 0,
                    )
                )


class Leases:
    """Knows every request with a reservation and without an end.

    A lease is longer than any request can live.  What was there at the last look, a lease ago, and still is has been lost:
    no clock has to be asked, and none can be wrong.
    """

    def __init__(self) -> None:
        self._open: dict[str, Lease] = {}
        self._seen: dict[str, Lease] = {}

    def __len__(self) -> int:
        """How many requests have reservations without an end."""
        return len(self._open)

    def begin(self, call: Call, number: int, it: Try) -> None:
        """A try is about to be reserved."""
        lease = self._open.get(call.id)
        if lease is None:
            lease = self._open[call.id] = Lease(call)
        lease.tries[number] = it

    def drop(self, request_id: str, number: int) -> None:
        """The try was not reserved after all."""
        lease = self._open.get(request_id)
        if lease is not None:
            lease.tries.pop(number, None)
            if not lease.tries:
                del self._open[request_id]

    def of(self, request_id: str) -> Lease | None:
        """The request's lease; ``None``: nothing of it is open."""
        return self._open.get(request_id)

    def end(self, request_id: str) -> None:
        """The request's end is written, or kept until it is."""
        self._open.pop(request_id, None)

    def late(self, alive: Container[str] = ()) -> list[Lease]:
        """Those that were open at the last look already.  Call it once in a lease.

        alive: requests that may be, since they have a deadline of their own.
        """
        late = [
            lease for request_id, lease in self._open.items() if self._seen.get(request_id) is lease and request_id not in alive
        ]
        self._seen = dict(self._open)
        return late
