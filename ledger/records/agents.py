"""What coding agents used, by their own logs."""

from __future__ import annotations

import msgspec

from ledger.records.entries import Tokens


class AgentUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One model call of a coding agent, as its own log tells it.

    event: what names it among all of the agent's calls, in whichever file it is told; of several with one name, as logs
    have them while an answer grows, the largest counts.  session, project, model, provider: empty where the log does not
    say.  project: a folder's name, or its path where that was asked for.  reported_nusd: the cost by the tool's own
    reckoning; kept beside, never charged by.
    """

    agent: str
    event: str
    at_us: int
    tokens: Tokens
    session: str = ""
    project: str = ""
    provider: str = ""
    model: str = ""
    service_tier: str = ""
    reported_nusd: int | None = None


class LogCursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far a log file is read.

    file_hash: of its path.  content_hash: of what stands at its beginning and just before ``offset_bytes``.  state: what its
    parser knows there.
    """

    file_hash: bytes
    agent: str
    size_bytes: int
    modified_ns: int
    offset_bytes: int
    content_hash: bytes
    state: bytes = b""


AgentRow = tuple[bytes, int, int, str, str, str, str, str, str, int, int, int, int, int, int, int, int | None]
"""An event as it is kept: the columns of ``agent_usage``, from the event's hash and its tokens in all on."""


class AgentBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored in one transaction: events, and how far their files are read with them."""

    events: tuple[AgentUsage, ...] = ()
    cursors: tuple[LogCursor, ...] = ()


class AgentStored(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a batch.  duplicate: events of which the ledger knew as much, or more."""

    new: int
    duplicate: int
