"""Which model, variant and offer a source means.

Deterministic, in this order: the reviewed table of aliases; what sources state themselves (OpenRouter's permanent slugs,
the base models of a host's copies); the rules of ``names``.  A name that could be two models, or means another one tomorrow,
stays unresolved and is listed.  Likeness only ever makes a suggestion for a person to review; nothing uses it.

model      ``creator/name``                    ``openai/gpt-5-5``
variant    a model at an effort                ``openai/gpt-5-5#high``; without: as the model is by default
offer      a variant at a host                 ``openai/gpt-5-5#high@azure/eu:batch``
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from ledger.catalogue.metrics import METRICS
from ledger.catalogue.names import EFFORTS, Name, read, spell
from ledger.facts import ModelFact, Observation, Reading, Subject

SUGGESTIONS_MAX = 1000
ALIKE = 0.75
"""From this share of common words on, two names are suggested for review."""

# Words that tell models apart: names that differ by one of them are different models, however alike they look.
TELLING = frozenset(
    (
        *("mini", "nano", "micro", "lite", "pro", "turbo", "max", "plus", "ultra", "flash", "fast", "air", "small", "medium"),
        *("large", "thinking", "think", "reasoning", "instruct", "chat", "codex", "coder", "code", "vl", "vision", "v", "omni"),
        *("image", "audio", "preview", "exp", "exacto", "distill", "safeguard", "guard", "base", "tee", "next", "edge", "her"),
        *("customtools", "deep", "research", "search", "realtime", "transcribe", "tts", "embedding", "speciale", "terminus"),
    )
)


class Alias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name of a model, and which it is.

    ``name``: ``creator/name`` as ``names.read`` spells it, with its date and effort words or without; or ``label``: the
    display name, exactly.  ``source``: who calls it so; empty: anybody.  ``model``: empty: known to be ambiguous.
    ``effort``: set where the name implies one; ``default``: none, whatever the name seems to say.
    ``why``: how it is known.   ``confidence``: in (0, 1].
    """

    model: str
    why: str
    name: str = ""
    label: str = ""
    source: str = ""
    effort: str = ""
    confidence: float = 1.0


class AliasTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reviewed table.  ``dated``: models whose dated names are different models; any other date only names a release."""

    reviewed: str
    dated: tuple[str, ...]
    aliases: tuple[Alias, ...]


class Resolution(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which one it is, how that is known (``rule``, or an alias' reason), and how sure."""

    model: str
    effort: str
    host: str
    region: str
    plan: str
    why: str
    confidence: float

    @property
    def variant(self) -> str:
        """The variant's name."""
        return variant_of(self.model, self.effort)

    @property
    def offer(self) -> str:
        """The offer's name; empty if no host is named."""
        return offer_of(self.variant, self.host, self.region, self.plan) if self.host else ""


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody knows which one it is; ``reason`` is a sentence."""

    subject: Subject
    reason: str


class Suggestion(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Two models that may be one, for review.  ``likeness``: the share of common words, in [0, 1].  Nothing uses it."""

    model: str
    other: str
    likeness: float


def variant_of(model: str, effort: str = "", /) -> str:
    """``model#effort``; the model's name alone where no effort is named."""
    return f"{model}#{effort}" if effort else model


def offer_of(variant: str, host: str, region: str = "", plan: str = "", /) -> str:
    """``variant@host/region:plan``, without what is empty."""
    return f"{variant}@{host}{f'/{region}' if region else ''}{f':{plan}' if plan else ''}"


def model_of(name: str, /) -> str:
    """The model of a variant or an offer."""
    return name.partition("@")[0].partition("#")[0]


class Resolver:
    """Finds whom a source means.

    table: the reviewed aliases.  facts: what sources stated of their own names, by source, in any order.  pause: called now
    and then while they are read.
    ``conflicts``: names that sources state differently; they are used by nobody.
    """

    def __init__(
        self,
        table: AliasTable,
        facts: Iterable[tuple[str, ModelFact]] = (),
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._dated = frozenset(table.dated)
        self._names: dict[tuple[str, str], Alias] = {}
        self._labels: dict[tuple[str, str], Alias] = {}
        for alias in table.aliases:
            if alias.label:
                self._labels[alias.source, alias.label] = alias
            else:
                self._names[alias.source, alias.name] = alias
        self.conflicts: tuple[str, ...] = ()
        self._learned: Mapping[tuple[str, str], Alias] = {}
        self._seen: dict[tuple[str, Subject], Resolution | Unresolved] = {}
        self._learned, self.conflicts = self._learn(facts, pause)
        self._seen.clear()

    def resolve(self, source: str, subject: Subject, /) -> Resolution | Unresolved:
        """Find it.  The same question always has the same answer."""
        key = (source, subject)
        found = self._seen.get(key)
        if found is None:
            if len(self._seen) > 100_000:  # names come from outside
                self._seen.clear()
            found = self._seen[key] = self._find(source, subject, self._learned)
        return found

    def observe(self, reading: Reading, /) -> Observation | Unresolved:
        """The reading, with its variant and offer; what is true of a model wherever it runs has no offer."""
        found = self.resolve(reading.source, reading.subject)
        if isinstance(found, Unresolved):
            return found
        return Observation(
            source=reading.source,
            source_version=reading.source_version,
            variant=found.variant,
            offer="" if METRICS[reading.metric].entity == "model" else found.offer,
            subject=reading.subject,
            metric=reading.metric,
            value=reading.value,
            unit=reading.unit,
            observed_at_us=reading.observed_at_us,
            fetched_at_us=reading.fetched_at_us,
            confidence=reading.confidence * found.confidence,
            n=reading.n,
        )

    def _find(self, source: str, subject: Subject, learned: Mapping[tuple[str, str], Alias]) -> Resolution | Unresolved:
        name = read(subject)
        alias = self._labels.get((source, subject.label)) or self._alias(source, name, learned)
        if alias is not None and not alias.model:
            return Unresolved(subject=subject, reason=f"{subject.source_name!r} is ambiguous: {alias.why}")
        if alias is None and name.floating:
            return Unresolved(subject=subject, reason=f"{subject.source_name!r} means another model tomorrow")
        if alias is None and not name.creator:
            return Unresolved(subject=subject, reason=f"nobody knows who made {subject.source_name!r}")
        if not name.name and alias is None:
            return Unresolved(subject=subject, reason=f"{subject.source_name!r} is no name")
        model = alias.model if alias else f"{name.creator}/{self._dateless(name)}"
        return Resolution(
            model=model,
            effort=EFFORTS[alias.effort] if alias and alias.effort else name.effort,
            host=name.host,
            region=name.region,
            plan=name.plan,
            why=alias.why if alias else "rule",
            confidence=alias.confidence if alias else 1.0,
        )

    def _dateless(self, name: Name) -> str:
        return name.dated if f"{name.creator}/{name.name}" in self._dated else name.name

    def _alias(self, source: str, name: Name, learned: Mapping[tuple[str, str], Alias]) -> Alias | None:
        """The alias of the most exact spelling there is: as written, with its date, without."""
        spelled = [f"{name.creator}/{text}" for text in dict.fromkeys((name.raw, name.dated, name.name))]
        if spelled[-1] in self._dated and name.dated != name.name:  # its date matters, so the bare name's alias is another's
            spelled.pop()
        for text in spelled:
            alias = (
                self._names.get((source, text))
                or self._names.get(("", text))
                or learned.get((source, text))
                or learned.get(("", text))
            )
            if alias is not None:
                return alias
        return None

    def _learn(
        self, facts: Iterable[tuple[str, ModelFact]], pause: Callable[[], None]
    ) -> tuple[dict[tuple[str, str], Alias], tuple[str, ...]]:
        """What sources say of their own names: other names of a model, and whose copy it is.

        A source's own id is never another's alias: what it calls X is X, whatever else it calls so.
        """
        facts = list(facts)
        own = {(source, spell(fact.subject.source_name)) for source, fact in facts}
        claims: dict[tuple[str, str], set[tuple[str, str, str]]] = {}
        for source, fact in facts:
            pause()
            if fact.base_model:
                base = self._find(source, Subject(source_name=fact.base_model), {})
                name = read(fact.subject)
                if isinstance(base, Resolution) and name.creator:
                    why = f"{source}: its base model is {fact.base_model}"
                    claims.setdefault((source, f"{name.creator}/{name.dated}"), set()).add((base.model, base.effort, why))
            if not fact.aliases:
                continue
            found = self._find(source, fact.subject, {})
            if isinstance(found, Unresolved):
                continue
            for other in fact.aliases:
                name = read(Subject(source_name=other, creator=fact.subject.creator))
                if not name.creator or (source, spell(other)) in own or name.floating:
                    continue
                rule = self._find(source, Subject(source_name=other, creator=fact.subject.creator), {})
                if isinstance(rule, Resolution) and rule.model == found.model:
                    continue
                why = f"{source}: another name of {fact.subject.source_name}"
                for text in {name.raw, name.dated}:
                    claims.setdefault(("", f"{name.creator}/{text}"), set()).add((found.model, "", why))
        learned, conflicts = {}, []
        for key in sorted(claims):
            models = sorted({claim[0] for claim in claims[key]})
            if len(models) > 1:
                conflicts.append(f"{key[1]} is said to be {' and '.join(models)}")
                continue
            model, effort, why = min(claims[key])
            learned[key] = Alias(name=key[1], source=key[0], model=model, effort=effort, why=why, confidence=0.95)
        return learned, tuple(conflicts)


def suggest(models: Iterable[str], /, pause: Callable[[], None] = lambda: None) -> tuple[Suggestion, ...]:
    """Pairs of one creator's models that may be one, the most alike first; at most ``SUGGESTIONS_MAX``.

    Names that differ by a word that tells models apart, or by a number, are not suggested.  pause: called now and then.
    """
    by_creator: dict[str, list[tuple[str, Counter[str]]]] = {}
    found = []
    for model in sorted(set(models)):
        words = _words(model)
        earlier = by_creator.setdefault(model.partition("/")[0], [])
        for other, others_words in earlier:
            pause()
            odd = (words - others_words) + (others_words - words)
            common = (words & others_words).total()
            likeness = common / (common + odd.total()) if common else 0.0
            if likeness >= ALIKE and not any(word in TELLING or word.isdigit() for word in odd):
                found.append(Suggestion(model=other, other=model, likeness=round(likeness, 3)))
        earlier.append((model, words))
    found.sort(key=lambda it: (-it.likeness, it.model, it.other))
    return tuple(found[:SUGGESTIONS_MAX])


def _words(model: str) -> Counter[str]:
    return Counter(model.partition("/")[2].split("-"))
