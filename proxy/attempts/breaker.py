"""A circuit: whether something that keeps failing is asked at all.  A table and counters; time and chance are arguments."""

from __future__ import annotations

from enum import Enum

import msgspec


class State(Enum):
    """closed: asked as usual.  open: not asked.  half_open: one try, the probe, finds out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Input(Enum):
    """What can happen to a circuit.  lost: the probe ended without telling anything, because its client had left, say."""

    LIMIT = "limit"
    PROBE = "probe"
    SUCCESS = "success"
    FAILURE = "failure"
    LOST = "lost"
    RESET = "reset"


# Tries that began while the circuit was closed end later, when it is not: their outcome changes nothing any more.
TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.CLOSED, Input.SUCCESS): State.CLOSED,
    (State.CLOSED, Input.FAILURE): State.CLOSED,
    (State.CLOSED, Input.LIMIT): State.OPEN,
    (State.CLOSED, Input.RESET): State.CLOSED,
    (State.OPEN, Input.PROBE): State.HALF_OPEN,
    (State.OPEN, Input.RESET): State.CLOSED,
    (State.HALF_OPEN, Input.SUCCESS): State.CLOSED,
    (State.HALF_OPEN, Input.FAILURE): State.OPEN,
    (State.HALF_OPEN, Input.LOST): State.OPEN,
    (State.HALF_OPEN, Input.RESET): State.CLOSED,
}

BUCKETS = 10
DEAD = 2
"""So many times the failures in a row that open a circuit: at one error in two, a streak that comes once in a thousand."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """When a circuit opens, and for how long.

    failures_max: failures in a row that open it.
    error_ratio, requests_min, window_s: it also opens if of at least so many tries within the window this share failed.
    open_s: how long it is open the first time; doubled each time that it opens soon again, up to open_max_s.
    last_open_s: how long if nothing else can be asked instead.
    jitter: up to this share is added to each of these times, by chance.
    """

    failures_max: int = 5
    error_ratio: float = 0.5
    requests_min: int = 20
    window_s: float = 30.0
    open_s: float = 30.0
    open_max_s: float = 300.0
    last_open_s: float = 2.0
    jitter: float = 0.2


class Circuit:
    """One circuit.  All times are in seconds of one clock.

    Whoever tries says so by ``enter`` and is known by a token; ``succeed``, ``fail`` and ``leave`` take it again.
    """

    __slots__ = (
        "_bucket",
        "_closed_s",
        "_failed",
        "_in_a_row",
        "_jittered",
        "_opened_s",
        "_probe",
        "_rules",
        "_succeeded",
        "_times",
        "_until_s",
        "state",
    )

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.state = State.CLOSED
        self._probe = ""
        self._in_a_row = 0
        self._times = 0
        self._opened_s = self._until_s = self._closed_s = 0.0
        self._jittered = 1.0
        self._bucket = 0
        self._failed = [0] * BUCKETS
        self._succeeded = [0] * BUCKETS

    # --- asking ---

    def ready_in_s(self, now_s: float, *, last: bool = False) -> float:
        """Seconds until a try may begin; 0: now.  last: nothing else can be asked instead."""
        if self.state is State.CLOSED:
            return 0.0
        if self.state is State.HALF_OPEN:
            # How long the probe takes nobody knows; a second is a good moment to look again.
            return 1.0
        return max(self._until(last=last) - now_s, 0.0)

    def enter(self, token: str, now_s: float, *, last: bool = False) -> bool:
        """Whether the try may begin.  After the open time the first that asks is the probe, and nobody else."""
        if self.state is State.CLOSED:
            return True
        if self.ready_in_s(now_s, last=last) > 0:
            return False
        self._go(Input.PROBE)
        self._probe = token
        return True

    @property
    def is_dead(self) -> bool:
        """Whether so much has failed in a row that it is no better than nothing, even as the last one."""
        return self._in_a_row >= DEAD * self._rules.failures_max

    def is_idle(self, now_s: float) -> bool:
        """Whether there is nothing to remember: closed, and nothing has failed lately."""
        if self.state is not State.CLOSED:
            return False
        self._turn(now_s)
        return not any(self._failed) and self._recent_times(now_s) == 0

    def is_probe(self, token: str) -> bool:
        """Whether this try is the probe."""
        return self.state is State.HALF_OPEN and self._probe == token

    # --- learning ---

    def succeed(self, token: str, now_s: float) -> None:
        """A try was answered."""
        self._turn(now_s)
        self._succeeded[self._bucket % BUCKETS] += 1
        self._in_a_row = 0
        if self.state is State.CLOSED:
            self._go(Input.SUCCESS)
        elif self.is_probe(token):
            self._go(Input.SUCCESS)
            self._close(now_s)

    def fail(self, token: str, now_s: float, *, chance: float) -> None:
        """A try failed.  chance: in [0, 1), for the jitter."""
        self._turn(now_s)
        self._failed[self._bucket % BUCKETS] += 1
        self._in_a_row += 1
        if self.state is State.CLOSED:
            self._go(Input.FAILURE)
            if self._in_a_row >= self._rules.failures_max or self._is_bad():
                self._go(Input.LIMIT)
                self._open(now_s, chance)
        elif self.is_probe(token):
            self._go(Input.FAILURE)
            self._open(now_s, chance)

    def leave(self, token: str) -> None:
        """The try is over.  If it was the probe and told nothing, the next one may be."""
        if self.is_probe(token):
            self._go(Input.LOST)
            self._probe = ""

    def reset(self, now_s: float) -> None:
        """Forget everything."""
        self._go(Input.RESET)
        self._close(now_s)
        self._times = 0
        self._failed = [0] * BUCKETS

    # --- inside ---

    def _go(self, happened: Input) -> None:
        self.state = TRANSITIONS[self.state, happened]

    def _open(self, now_s: float, chance: float) -> None:
        self._probe = ""
        self._times = self._recent_times(now_s) + 1
        self._jittered = 1 + self._rules.jitter * chance
        self._opened_s = now_s
        self._until_s = now_s + self._open_s(self._times) * self._jittered

    def _close(self, now_s: float) -> None:
        self._probe = ""
        self._in_a_row = 0
        self._closed_s = now_s
        # What was counted before it opened is the past; a circuit that has just closed starts anew.
        self._failed = [0] * BUCKETS

    def _recent_times(self, now_s: float) -> int:
        """How often it has opened without staying closed, in between, for twice as long as it had been open."""
        if self.state is State.CLOSED or self._opened_s < self._closed_s:
            return self._times if now_s - self._closed_s < 2 * self._open_s(self._times) else 0
        return self._times

    def _open_s(self, times: int) -> float:
        # 2.0 ** 1024 is too much for a float.
        return min(self._rules.open_s * 2.0 ** min(max(times - 1, 0), 64), self._rules.open_max_s)

    def _until(self, *, last: bool) -> float:
        if not last:
            return self._until_s
        return min(self._until_s, self._opened_s + self._rules.last_open_s * self._jittered)

    def _is_bad(self) -> bool:
        failed = sum(self._failed)
        tried = failed + sum(self._succeeded)
        return tried >= self._rules.requests_min and failed >= self._rules.error_ratio * tried

    def _turn(self, now_s: float) -> None:
        """Empty the buckets whose time is over."""
        bucket = int(now_s * BUCKETS / self._rules.window_s)
        passed = bucket - self._bucket
        if passed <= 0:
            return
        for number in range(self._bucket + 1, self._bucket + 1 + min(passed, BUCKETS)):
            self._failed[number % BUCKETS] = 0
            self._succeeded[number % BUCKETS] = 0
        self._bucket = bucket
