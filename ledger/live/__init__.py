"""What our own traffic says of each offer: how fast, how reliable, how wordy, how dear, in windows of time.

``histogram`` keeps quantiles in little room, ``windows`` forgets by the clock, ``metrics`` names what comes out, ``view`` is
what a decision reads; ``outcomes`` is what is thought of the answers.  No I/O here: the caller feeds samples, and keeps what
``LiveMetrics.dump`` gives it over a restart.
"""

from ledger.live.histogram import Histogram
from ledger.live.metrics import LiveMetrics, Outcome, Sample, Value
from ledger.live.outcomes import Outcomes
from ledger.live.view import LiveView, Views
from ledger.live.windows import WINDOWS, Tally, Window

__all__ = [
    "WINDOWS",
    "Histogram",
    "LiveMetrics",
    "LiveView",
    "Outcome",
    "Outcomes",
    "Sample",
    "Tally",
    "Value",
    "Views",
    "Window",
]
