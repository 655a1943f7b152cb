"""What is asked of the facts about models, as configuration, HTTP and the command ask it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from ledger.catalogue.identity import Resolution, Resolver, model_of
from ledger.catalogue.indices import Indices
from ledger.catalogue.merge import Priority, Score, prior_samples
from ledger.catalogue.snapshot import Snapshot
from ledger.facts import Subject
from ledger.live import LiveView
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


def model_named(resolver: Resolver, known: Collection[str], name: str) -> str | None:
    """The model that a person means: by our name for it, or by any that a host has; ``None``: nobody knows it."""
    if name in known:
        return name
    found = resolver.resolve("", Subject(source_name=name))
    return found.model if isinstance(found, Resolution) and found.model in known else None


def live_score(snapshot: Snapshot, view: LiveView, subject: str, metric: str) -> Score | None:
    """What is measured here as a source says it; ``None``: nothing is, or another source counts more.

    confidence: how much of the value that counts it is, beside what was published: ``n / (n + k)``.
    """
    measured = snapshot.measured(subject, metric, view.values)
    if measured is None:
        return None
    value, n = measured
    return Score(
        subject=subject,
        metric=metric,
        value=value,
        source="live",
        source_version="",
        observed_at_us=view.heard_us[subject],
        confidence=n / (n + prior_samples(metric)),
        n=n,
    )


def live_scores(snapshot: Snapshot, view: LiveView, subjects: Iterable[str]) -> list[Score]:
    """Everything that is measured here of some subjects, by name."""
    found = (
        live_score(snapshot, view, subject, metric) for subject in subjects for metric in sorted(view.metrics.get(subject, ()))
    )
    return [it for it in found if it is not None]


def live_models(view: LiveView) -> dict[str, list[str]]:
    """By model what of it is measured here: offers and variants.  An offer that the ledger does not know is its own model."""
    found: dict[str, set[str]] = {}
    for offer, names in view.named.items():
        for name in names or (offer,):
            found.setdefault(model_of(name), set()).add(name)
    return {model: sorted(subjects) for model, subjects in sorted(found.items())}
