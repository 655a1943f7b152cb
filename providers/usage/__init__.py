"""Token counts as mutually exclusive buckets, from whatever a vendor reports.

``semantics``  the table: for each vendor and API, which field says what, and what is counted inside of what
``reader``     one reader for all of its rows

What the rows settle once: whether cached tokens are inside the input or beside it, reasoning inside the output or beside
it, and where the pieces are.  The raw object is kept.
"""

from providers.usage.reader import TOKENS_MAX, Aside, Usage, read, standard_tier
from providers.usage.semantics import OPENAI_LIKE, ROWS, Semantics, semantics_of

__all__ = ["OPENAI_LIKE", "ROWS", "TOKENS_MAX", "Aside", "Semantics", "Usage", "read", "semantics_of", "standard_tier"]
