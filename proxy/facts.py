"""What is asked of the facts about models, as configuration, HTTP and the command ask it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ledger.catalogue.identity import Resolution, Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.merge import Priority
from ledger.facts import Subject
from ledger.ports import FactsPort
from proxy.config import Config


def priority(config: Config) -> Priority:
    """Whose word counts, as the configuration says."""
    return Priority(
        order=config.ledger.priority, of={name: it.order for name, it in config.ledger.priority_of.items() if it.order}
    )


def moment(text: str) -> int | str:
    """A day is its end (UTC), ``2026-03-01T08:00`` that minute, in microseconds; anything else is taken for a snapshot's id."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    if len(text) <= len("2026-03-01"):
        at += timedelta(days=1, microseconds=-1)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


async def indices_at(facts: FactsPort, at: str | None) -> Indices:
    """The indices of now, or of a past moment or snapshot.  Raises: LookupError, LedgerUnavailable."""
    return facts.indices if at is None else Indices(await facts.at(moment(at)))


def model_named(resolver: Resolver, known: tuple[str, ...], name: str) -> str | None:
    """The model that a person means: by our name for it, or by any that a host has; ``None``: nobody knows it."""
    if name in known:
        return name
    found = resolver.resolve("", Subject(source_name=name))
    return found.model if isinstance(found, Resolution) and found.model in known else None
