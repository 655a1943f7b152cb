"""What goes into the ledger and comes out of it: frozen structs, units in their names.

Money is integer nano-USD (``_nusd``), times are integer microseconds since the epoch (``_us``), prices are integer
nano-USD per million units (``_nusd_per_mtok``).  Nothing here is a float.
"""

from ledger.records.agents import AgentBatch, AgentRow, AgentStored, AgentUsage, LogCursor
from ledger.records.decisions import CANDIDATE, Checked, DecisionRecord, Feedback, Routed
from ledger.records.entries import (
    NO_PIECES,
    Adjusted,
    Adjustment,
    AttemptRecord,
    Pieces,
    Progress,
    Quality,
    RequestRecord,
    Reservation,
    Settlement,
    Tokens,
    Void,
)
from ledger.records.owners import Budget, BudgetPeriod, BudgetUnit, Change, Key, Kind, Owned, Spent, Team, User
from ledger.records.prices import Bounds, ContextTier, ImageRate, Price, Rates, ServiceTier, Subscription
from ledger.records.reports import By, Report, ReportedUse, UsageRow

__all__ = [
    "CANDIDATE",
    "NO_PIECES",
    "Adjusted",
    "Adjustment",
    "AgentBatch",
    "AgentRow",
    "AgentStored",
    "AgentUsage",
    "AttemptRecord",
    "Bounds",
    "Budget",
    "BudgetPeriod",
    "BudgetUnit",
    "By",
    "Change",
    "Checked",
    "ContextTier",
    "DecisionRecord",
    "Feedback",
    "ImageRate",
    "Key",
    "Kind",
    "LogCursor",
    "Owned",
    "Pieces",
    "Price",
    "Progress",
    "Quality",
    "Rates",
    "Report",
    "ReportedUse",
    "RequestRecord",
    "Reservation",
    "Routed",
    "ServiceTier",
    "Settlement",
    "Spent",
    "Subscription",
    "Team",
    "Tokens",
    "UsageRow",
    "User",
    "Void",
]
