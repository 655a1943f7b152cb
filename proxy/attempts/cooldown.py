"""How long something that said "too many requests" is left alone.  Time and chance are arguments."""

from __future__ import annotations

import msgspec

JITTER = 0.1
"""Up to this share is added to each wait, so that not everybody is back at the same moment."""


class CooldownRules(msgspec.Struct, frozen=True, kw_only=True):
    """base_s: the first wait where nobody says how long; doubled each time, up to max_s.  max_s caps what is said, too."""

    base_s: float = 1.0
    max_s: float = 120.0


class Cooldown:
    """Until when it is left alone; in seconds of one clock."""

    __slots__ = ("_rules", "_steps", "until_s")

    def __init__(self, rules: CooldownRules) -> None:
        self._rules = rules
        self._steps = 0
        self.until_s = 0.0

    def ready_in_s(self, now_s: float) -> float:
        """Seconds until it may be asked again; 0: now."""
        return max(self.until_s - now_s, 0.0)

    def limit(self, now_s: float, *, asked_s: float | None, chance: float) -> None:
        """It refused for being asked too much.  asked_s: how long it wants to be left alone, if it said.

        Tries that were under way together are refused together: only the first refusal makes the wait longer.
        chance: in [0, 1), for the jitter.
        """
        longer = 1 + JITTER * chance
        if asked_s is not None:
            self.until_s = max(self.until_s, now_s + min(max(asked_s, 0.0) * longer, self._rules.max_s))
        elif now_s >= self.until_s:
            self._steps += 1
            # 2.0 ** 1024 is too much for a float.
            wait_s = self._rules.base_s * 2.0 ** min(self._steps - 1, 64)
            self.until_s = now_s + min(wait_s * longer, self._rules.max_s)

    def succeed(self, now_s: float) -> None:
        """It answered.  An answer to what was asked before it refused says nothing about now."""
        if now_s >= self.until_s:
            self._steps = 0

    def is_idle(self, now_s: float) -> bool:
        """Whether there is nothing to remember."""
        return now_s >= self.until_s and self._steps == 0

    def reset(self) -> None:
        """Forget everything."""
        self._steps = 0
        self.until_s = 0.0
