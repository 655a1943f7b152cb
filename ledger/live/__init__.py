"""What our own traffic says of each offer: how fast, how reliable, how wordy, how dear, in windows of time.

``histogram`` keeps quantiles in little room, ``windows`` forgets by the clock, ``metrics`` names what comes out.  No I/O here:
the caller feeds samples, and keeps what ``LiveMetrics.dump`` gives it over a restart.
"""

from ledger.live.histogram import Histogram
from ledger.live.metrics import LiveMetrics, Sample, Value, blend
from ledger.live.outcomes import Outcomes
from ledger.live.windows import WINDOWS, Window

__all__ = ["WINDOWS", "Histogram", "LiveMetrics", "Outcomes", "Sample", "Value", "Window", "blend"]
