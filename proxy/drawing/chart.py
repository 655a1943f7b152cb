"""The front as a small chart in a terminal: quality over cost, in characters."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import msgspec

WIDTH, HEIGHT = 60, 14
CHOSEN, FRONT, BEATEN = "★", "●", "·"


class Dot(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate.  cost_usd: of the request; quality: in [0, 1]."""

    name: str
    cost_usd: float
    quality: float
    on_front: bool = False
    chosen: bool = False

    @property
    def mark(self) -> str:
        """How it is drawn."""
        return CHOSEN if self.chosen else FRONT if self.on_front else BEATEN


def drawn(dots: Sequence[Dot], *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Lines of text: cost to the right, on a scale of powers of ten, quality upwards; empty without a candidate."""
    if not dots:
        return ""
    least = min((dot.cost_usd for dot in dots if dot.cost_usd > 0), default=1e-6)
    places = [log10(max(dot.cost_usd, least)) for dot in dots]
    left, right = min(places), max(places)
    low, high = min(dot.quality for dot in dots), max(dot.quality for dot in dots)
    rows = [[" "] * width for _ in range(height)]
    # What matters most is drawn last, over the others.
    for dot, place in sorted(zip(dots, places, strict=True), key=lambda it: (it[0].chosen, it[0].on_front)):
        column = round((place - left) / (right - left or 1) * (width - 1))
        line = round((high - dot.quality) / (high - low or 1) * (height - 1))
        rows[line][column] = dot.mark
    lines = []
    for number, row in enumerate(rows):
        scale = f"{high:.2f}" if number == 0 else f"{low:.2f}" if number == height - 1 else ""
        lines.append(f"{scale:>8} │{''.join(row).rstrip()}")
    first, last = f"${10**left:.2g}", f"${10**right:.2g}"
    lines.append(f"{'':>8} └{'─' * width}")
    lines.append(f"{'quality':>8}  {first}{last:>{max(width - len(first), len(last) + 1)}}  cost")
    lines.append(f"{'':>8}  {CHOSEN} chosen   {FRONT} beaten by nobody   {BEATEN} beaten")
    return "\n".join(lines)
