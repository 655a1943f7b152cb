"""What the ledger raises.  Drivers' exceptions stop at the adapters and come out as these."""

from __future__ import annotations


class LedgerError(Exception):
    """Anything the ledger could not or would not do."""


class LedgerUnavailable(LedgerError):
    """Not written, and nothing of it is: the disk refuses, the queue is full, or the writer has stopped."""


class EntryRefused(LedgerError):
    """An entry that cannot be written on any disk: a value of the wrong type or range.  A bug of the caller."""


class LedgerLocked(LedgerError):
    """Another process has the ledger open.  ``pid`` names it, where it could be read."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class LedgerCorrupt(LedgerError):
    """The file is damaged, or is no ledger at all.  It is left as it was found."""


class LedgerTooNew(LedgerError):
    """The file was written by a later release."""


class NameTaken(LedgerError):
    """What is to be kept has the name or the id of something else that is there."""


class PricesUnreadable(LedgerError):
    """A price list is not there, or is not of the expected shape."""


class ReportUnreadable(LedgerError):
    """A provider's report is not of the expected shape."""


class FactsUnreadable(LedgerError):
    """A file of facts is not there, or is not of the expected shape."""


class SourceUnreadable(LedgerError):
    """A source's payload is not what the source sends: no JSON, a web page, cut off, of another shape."""


class SourceUnavailable(LedgerError):
    """A source did not answer: no connection, no time, too long an answer."""
