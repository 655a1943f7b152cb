"""Who can be asked, and what is known of each: everything that does not depend on the request, computed once.

A ``Field`` is made off the request path whenever the models, the facts or the prices have changed, and swapped in as a
whole.  An ``Outlook`` is a field seen for one kind of task with what is measured just now; it is made by the first request
that needs it after a measurement, at most once a second, and costs one to six microseconds a candidate, by how much of it
is measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ledger.catalogue.identity import Resolution, Resolver, model_of, offer_of, variant_of
from ledger.catalogue.indices import TASKS, Indices, Part
from ledger.catalogue.merge import PRIOR_SAMPLES_DEFAULT, Model
from ledger.catalogue.snapshot import Snapshot
from ledger.facts import Subject
from ledger.records import Bounds, Price
from providers.provider import Skill, Traits
from proxy.routing import lengths, scale
from proxy.routing.features import BYTES_PER_TOKEN
from proxy.routing.kinds import KINDS
from proxy.routing.lengths import Lengths
from proxy.routing.live import NOTHING, Live, Measured
from proxy.routing.pareto import UNKNOWN_MS, UNKNOWN_QUALITY
from proxy.routing.policy import Percentile
from proxy.routing.scale import Judged

MTOK: Final = 1_000_000
TOKENS: Final = "tokens_out_per_answer"
PRIOR_SAMPLES_K: Final = PRIOR_SAMPLES_DEFAULT
PRIOR_FLAWLESS: Final = PRIOR_SAMPLES_DEFAULT
"""Flawless answers that everybody is taken to have given, besides those that were checked."""

NEEDS: Final = (
    *("tools", "structured_output", "reasoning", "web_search"),
    *("vision", "audio_in", "video", "file", "audio_out", "image_out"),
)
"""What a request can need; each has a bit, in this order."""
BIT: Final = {name: 1 << place for place, name in enumerate(NEEDS)}
_MODALITIES_IN: Final = {"image": "vision", "audio": "audio_in", "video": "video", "file": "file", "pdf": "file"}
_MODALITIES_OUT: Final = {"audio": "audio_out", "image": "image_out"}
_PERCEIVED: Final = sum(BIT[name] for name in ("vision", "audio_in", "video", "file", "audio_out", "image_out"))
_ABILITIES: Final = BIT["tools"] | BIT["structured_output"] | BIT["reasoning"] | BIT["web_search"]

OTHER_TRADES: Final = re.compile(
    r"(?:^|[^a-z])(?:text-)?(?:embed|embedding|embeddings|bge|e5|rerank|reranker|moderation|whisper|transcribe|tts|speech|dall-e"
    r"|image|imagen|veo|sora|flux|stable-diffusion|realtime|ocr|guard)(?:$|[^a-z])"
)
"""What the names of models say that answer with something else than text: providers list them among the others."""

ONE_TEST: Final = 0.6
"""The standard error of a single benchmark, in standard deviations of everybody: how far it is from what it stands for."""
PULL: Final = 1.0
"""The weight of what all other benchmarks say of a model beside those of the task: as much as one benchmark."""
BROAD_ENOUGH: Final = 4.0
"""From so many benchmarks, by weight, on a model is well known, whatever they test."""

# How much worse the tail is than the middle, where only the middle is known.
TAIL_TTFT: Final[Mapping[Percentile, float]] = {"p50": 1.0, "p90": 2.0, "p99": 4.0}
TAIL_RATE: Final[Mapping[Percentile, float]] = {"p50": 1.0, "p90": 1.5, "p99": 2.0}


class Assumptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken for granted where nothing is measured.

    output_tokens: of an answer, by kind of task.  bytes_per_token: of a body.  quality: of a model of which nothing but
    judged answers is known, before them.
    """

    output_tokens: Mapping[str, int] = MappingProxyType({name: kind.output_tokens for name, kind in KINDS.items()})
    bytes_per_token: float = BYTES_PER_TOKEN
    quality: float = 0.25


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can be asked.  endpoints: what its vendor serves; empty: everything.  traits: what it says of itself."""

    provider: str
    model: str
    endpoints: frozenset[str] = frozenset()
    traits: Traits | None = None

    @property
    def name(self) -> str:
        """``provider/model``."""
        return f"{self.provider}/{self.model}"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can be asked, and what is stated of them.

    subject: the ledger's model; empty: nobody knows it.  host: the ledger's name of the offer.  family: who made it.
    can, known: bits of ``NEEDS``: what it can do, and of which of them anything is known.
    window_tokens, output_most, stated_tokens (of an answer): ``None``: nobody says.  price: ``None``: unknown; charged: it is
    what is charged, and not only what somebody states.  writes: it answers with text.
    """

    name: str
    provider: str
    model: str
    endpoints: frozenset[str]
    subject: str
    host: str
    effort: str
    family: str
    can: int
    known: int
    window_tokens: int | None
    output_most: int | None
    stated_tokens: float | None
    price: Price | None
    charged: bool
    writes: bool = True


class Grade(msgspec.Struct, frozen=True, kw_only=True):
    """How good an offer is at a task by what is published.

    value: expected, in (0, 1), smaller where little is known.  error: its standard error.
    coverage: in [0, 1], how much of what is enough is known; confidence: in [0, 1], what age has left of it.
    as_run: the variant that was measured.  borrowed: none of the task's own benchmarks is known.
    """

    value: float
    error: float
    coverage: float
    confidence: float
    as_run: str
    borrowed: bool


class Field:
    """Everybody who can be asked, by name, at one moment.  Read only but for what it remembers of itself."""

    def __init__(
        self,
        offers: Iterable[Offer],
        *,
        indices: Indices,
        at_us: int,
        assumptions: Assumptions = Assumptions(),  # noqa: B008  # frozen
    ) -> None:
        self.offers: tuple[Offer, ...] = tuple(sorted(offers, key=lambda it: it.name))
        self.names = [offer.name for offer in self.offers]
        self.places = {name: place for place, name in enumerate(self.names)}
        self.indices = indices
        self.at_us = at_us
        self.assumptions = assumptions
        self._broad: dict[str, tuple[float, float, float] | None] = {}
        self._grades: dict[tuple[str, str], tuple[Grade | None, ...]] = {}
        self._priors: dict[Percentile, tuple[list[float | None], list[float | None]]] = {}
        self._outlooks: dict[tuple[str, str, Percentile, float], Outlook] = {}
        self._talk: Lengths | None = None
        self._live: Live = NOTHING
        self.able: dict[object, tuple[tuple[int, ...], tuple[Any, ...]]] = {}

    @property
    def snapshot(self) -> Snapshot:
        """The facts that it rests on."""
        return self.indices.snapshot

    def prepare(self, pause: Callable[[], None] = lambda: None) -> None:
        """Compute beforehand what the first requests would have to wait for."""
        for kind in KINDS:
            self.grades(kind, "", pause)
        self._prior_speeds("p50")

    def outlook(self, kind: str, effort: str, percentile: Percentile, caution: float, live: Live) -> Outlook:
        """The field for a kind of task, as it is measured just now."""
        if live is not self._live:
            self._live = live
            self._outlooks = {}
            self._talk = None
        key = (kind, effort, percentile, caution)
        found = self._outlooks.get(key)
        if found is None:
            if len(self._outlooks) >= OUTLOOKS_MAX:
                self._outlooks.clear()
            found = self._outlooks[key] = Outlook(self, kind, effort, percentile, caution, live)
        return found

    def grades(self, kind: str, effort: str, pause: Callable[[], None] = lambda: None) -> tuple[Grade | None, ...]:
        """How good each offer is at a kind of task, by what is published; ``None``: nobody knows."""
        task = KINDS[kind].task
        found = self._grades.get((task, effort))
        if found is None:
            graded: dict[str, Grade | None] = {}
            for offer in self.offers:
                pause()
                subject = self._variant(offer, effort)
                if subject not in graded:
                    graded[subject] = self._grade(subject, task) if subject else None
            found = tuple(graded[self._variant(offer, effort)] for offer in self.offers)
            self._grades[task, effort] = found
        return found

    def talk(self, live: Live) -> Lengths:
        """How long answers are by kind of task and by offer, as measured; made once for each measurement."""
        if self._talk is None:
            self._talk = lengths.fit(self._measured(live), self.assumptions.output_tokens)
        return self._talk

    def _measured(self, live: Live) -> Iterator[lengths.Measured]:
        by_offer = live.offers.by_offer
        for name in self.names:
            every = by_offer(name)
            if every:
                whole = every.get(TOKENS)
                for kind in KINDS:
                    at_kind = by_offer(name, kind)
                    if at_kind is not every and (found := at_kind.get(TOKENS)) is not None and found is not whole:
                        # Whoever knows nothing of the kind tells of all of them.
                        yield lengths.Measured(name, kind, found.value, found.n)

    def prior_speed(self, place: int, percentile: Percentile) -> tuple[float | None, float | None]:
        """Milliseconds to the first token, and for each further one, as published; ``None``: nobody says."""
        ttft, rate = self._prior_speeds(percentile)
        return ttft[place], rate[place]

    # --- by what is published ------------------------------------------------------------------------------------------

    def _variant(self, offer: Offer, effort: str) -> str:
        """The variant that is asked; the model's own where it is not known at that effort."""
        wanted = offer.effort or effort
        if not offer.subject or not wanted:
            return offer.subject
        variant = variant_of(offer.subject, wanted)
        return variant if variant in self.snapshot.variants(offer.subject) else offer.subject

    def _grade(self, subject: str, task: str) -> Grade | None:
        own = self.indices.quality(subject, task)
        as_run = subject if own is None else own.as_run
        broad = self._breadth(as_run)
        if own is None and broad is None:
            return None
        weight = z = coverage = sure = 0.0
        if own is not None:
            weight = sum(part.weight for part in own.parts)
            z = sum(part.z * part.weight for part in own.parts)
            sure = sum(part.weight * self._confidence(part) for part in own.parts)
            coverage = own.coverage
        confidence = sure / weight if weight else 0.0
        if broad is not None:
            broad_z, broad_weight, broad_confidence = broad
            z += PULL * broad_z
            coverage += (1 - coverage) * 0.5 * min(1.0, broad_weight / BROAD_ENOUGH)
            confidence = max(confidence, broad_confidence)
            weight += PULL
            sure += PULL * broad_confidence
        z /= weight
        share = 1 / (1 + math.exp(-z))
        scale = 0.6 + 0.4 * min(coverage, 1.0)
        error_z = ONE_TEST / math.sqrt(max(sure, 0.05))
        return Grade(
            value=share * scale,
            error=share * (1 - share) * scale * error_z,
            coverage=min(coverage, 1.0),
            confidence=confidence,
            as_run=as_run,
            borrowed=own is None,
        )

    def _breadth(self, subject: str) -> tuple[float, float, float] | None:
        """What all benchmarks together say of a variant: z, their weight, what age has left of their confidence."""
        if subject not in self._broad:
            parts: dict[str, Part] = {}
            for task in TASKS:
                found = self.indices.quality(subject, task)
                if found is not None:
                    parts.update((part.score.metric, part) for part in found.parts)
            weight = sum(part.weight for part in parts.values())
            self._broad[subject] = (
                None
                if not weight
                else (
                    sum(part.z * part.weight for part in parts.values()) / weight,
                    weight,
                    sum(part.weight * self._confidence(part) for part in parts.values()) / weight,
                )
            )
        return self._broad[subject]

    def _confidence(self, part: Part) -> float:
        return part.score.confidence_at(self.at_us)

    def _prior_speeds(self, percentile: Percentile) -> tuple[list[float | None], list[float | None]]:
        found = self._priors.get(percentile)
        if found is None:
            speeds = [self._published(offer, percentile) for offer in self.offers]
            found = self._priors[percentile] = ([it[0] for it in speeds], [it[1] for it in speeds])
        return found

    def _published(self, offer: Offer, percentile: Percentile) -> tuple[float | None, float | None]:
        if not offer.subject:
            return None, None
        subject = offer.host or variant_of(offer.subject, offer.effort)
        score = self.snapshot.score
        ttft = score(subject, f"ttft_{percentile}")
        first_ms = None if ttft is None else ttft.value
        if first_ms is None and percentile != "p50" and (middle := score(subject, "ttft_p50")) is not None:
            first_ms = middle.value * TAIL_TTFT[percentile]
        rate = score(subject, "output_tps_p50")
        return first_ms, None if rate is None or rate.value <= 0 else 1000 / rate.value * TAIL_RATE[percentile]


OUTLOOKS_MAX: Final = 64
SLATES_MAX: Final = 64


class Outlook:
    """A field for one kind of task, with what is measured: everything by the offer's place in the field.

    qualities: expected less the caution; ``UNKNOWN_QUALITY`` where nobody knows.  outputs: tokens of an answer, as long as
    it likes.  ttft_ms, token_ms: ``UNKNOWN_MS`` where nobody knows.  tokens_per_byte: of its family.
    """

    __slots__ = (
        *("caution", "confidences", "coverages", "effort", "errors", "expected", "field", "judged", "kind", "live", "measured"),
        *("outputs", "percentile", "qualities", "scale", "slates", "token_ms", "tokens_per_byte", "ttft_ms"),
    )

    def __init__(self, field: Field, kind: str, effort: str, percentile: Percentile, caution: float, live: Live) -> None:
        self.field = field
        self.kind = kind
        self.effort = effort
        self.percentile = percentile
        self.caution = caution
        self.live = live
        self.slates: dict[object, Any] = {}  # by whatever tells requests apart: the router's own memory
        usual = field.assumptions.output_tokens.get(kind, KINDS[kind].output_tokens)
        self.expected: list[float | None] = []
        self.errors: list[float] = []
        self.coverages: list[float] = []
        self.confidences: list[float] = []
        self.judged: list[int] = []
        self.measured: list[int] = []
        self.outputs: list[float] = []
        self.ttft_ms: list[float] = []
        self.token_ms: list[float] = []
        self.qualities: list[float] = []
        ratio = field.assumptions.bytes_per_token
        self.tokens_per_byte = [1 / live.bytes_per_token.get(offer.family, ratio) for offer in field.offers]
        at_task = [live.offers.by_offer(offer.name, kind) for offer in field.offers]
        grades = field.grades(kind, effort)
        judged = [_judged(grade, found) for grade, found in zip(grades, at_task, strict=True)]
        self.scale = scale.fit((it for it in judged if it is not None), assumed=field.assumptions.quality)
        for place, (offer, grade) in enumerate(zip(field.offers, grades, strict=True)):
            at_all = live.offers.by_offer(offer.name)
            self._judge(grade, judged[place], flawless_of(at_task[place]))
            self._talk(offer, usual, at_task[place], at_all)
            self._time(place, at_all)

    def _judge(self, grade: Grade | None, judged: Judged | None, flawless: float) -> None:
        """What is published, on the scale of the judged answers of this kind, blended with the offer's own; of that, as much
        as comes without a flaw.
        """
        value = error = coverage = confidence = 0.0
        if grade is not None:
            value, error = self.scale.expected(grade.value), self.scale.slope * grade.error
            coverage, confidence = grade.coverage, grade.confidence
        if judged is not None:
            share = judged.n / (judged.n + self.scale.worth)
            chance = math.sqrt(judged.good * (1 - judged.good) / judged.n)
            value = self.scale.blended(judged)
            error = math.hypot(share * chance, (1 - share) * (self.scale.doubt if grade is None else error))
            coverage += (1 - coverage) * share
            confidence += (1 - confidence) * share
        known = grade is not None or judged is not None
        value, error = value * flawless, error * flawless
        self.judged.append(0 if judged is None else judged.n)
        self.expected.append(value if known else None)
        self.errors.append(error)
        self.coverages.append(coverage)
        self.confidences.append(confidence)
        self.qualities.append(max(value - self.caution * error, 0.0) if known else UNKNOWN_QUALITY)

    def _talk(self, offer: Offer, usual: int, at_task: Mapping[str, Measured], at_all: Mapping[str, Measured]) -> None:
        """How long its answers are: as measured for this kind, as far as that is grounded; else as lengths are elsewhere."""
        own, whole = at_task.get(TOKENS), at_all.get(TOKENS)
        found = self.field.talk(self.live)
        is_told_apart = offer.name in found.wordiness
        stated = None if is_told_apart else offer.stated_tokens
        expected = found.expected(offer.name, self.kind, usual) if stated is None else stated
        if own is not None and own is whole and is_told_apart:
            own = None  # its answers of other kinds, which are in its wordiness already
        self.measured.append(0 if own is None or own is whole else own.n)
        self.outputs.append(expected if own is None else lengths.blended(own.value, own.n, expected))

    def _time(self, place: int, at_all: Mapping[str, Measured]) -> None:
        first_ms, token_ms = self.field.prior_speed(place, self.percentile)
        if at_all:
            first = at_all.get(f"ttft_{self.percentile}") or at_all.get("ttft_p50")
            if first is not None:
                first_ms = first.value if first_ms is None else _blend(first, first_ms)
            rate = at_all.get("output_tps_p50") if self.percentile == "p50" else at_all.get("output_tps_p10")
            rate = rate or at_all.get("output_tps_p50")
            if rate is not None and rate.value > 0:
                share = 1.0 if token_ms is None else rate.n / (rate.n + PRIOR_SAMPLES_K)
                token_ms = share * 1000 / rate.value + (1 - share) * (token_ms or 0.0)
            if first_ms is None and (whole := at_all.get("e2e_p50")) is not None:
                # Nothing was streamed: all of the time is that of the answer as a whole.
                first_ms, token_ms = whole.value, token_ms or 0.0
        self.ttft_ms.append(UNKNOWN_MS if first_ms is None else first_ms)
        self.token_ms.append(UNKNOWN_MS if token_ms is None else token_ms)


def _judged(grade: Grade | None, measured: Mapping[str, Measured]) -> Judged | None:
    found = judged_of(measured) if measured else None
    return None if found is None else Judged(None if grade is None else grade.value, *found)


def judged_of(measured: Mapping[str, Measured]) -> tuple[float, int] | None:
    """The share of answers that were judged good, by harnesses and by users together, and how many were judged."""
    total = count = 0.0
    for name in ("live_pass_rate", "live_user_accept_rate"):
        found = measured.get(name)
        if found is not None and found.n > 0:
            total += found.n * found.value
            count += found.n
    return (total / count, int(count)) if count else None


def flawless_of(measured: Mapping[str, Measured]) -> float:
    """The share of answers without a flaw that can be checked; 1 where nothing was checked.

    An answer without one may be wrong all the same, so nobody becomes better by having none: what a flaw takes away is all
    that this says.
    """
    found = measured.get("check_pass_rate")
    return 1.0 if found is None else (found.n * found.value + PRIOR_FLAWLESS) / (found.n + PRIOR_FLAWLESS)


def _blend(live: Measured, prior: float) -> float:
    return (live.n * live.value + PRIOR_SAMPLES_K * prior) / (live.n + PRIOR_SAMPLES_K)


# --- how a field is made -----------------------------------------------------------------------------------------------


def build(
    listed: Sequence[Listed],
    *,
    indices: Indices,
    resolver: Resolver,
    prices: Callable[[str, str], Price | None],
    bounds: Callable[[str, str], Bounds],
    at_us: int,
    assumptions: Assumptions = Assumptions(),  # noqa: B008  # frozen
    pause: Callable[[], None] = lambda: None,
) -> Field:
    """The field of those who are listed.

    prices: what is charged for a provider's model now; bounds: what it takes and gives at most.  pause: called now and then.
    """
    offers = []
    for it in listed:
        pause()
        offers.append(_offer(it, indices.snapshot, resolver, prices(it.provider, it.model), bounds(it.provider, it.model)))
    field = Field(offers, indices=indices, at_us=at_us, assumptions=assumptions)
    field.prepare(pause)
    return field


def _offer(it: Listed, snapshot: Snapshot, resolver: Resolver, price: Price | None, bounds: Bounds) -> Offer:
    found = resolved(resolver, snapshot, it.provider, it.model)
    subject = "" if found is None else found.model
    # The host is our own name of the provider: that is how its offers are priced and measured.
    host = "" if found is None else found.offer or offer_of(found.variant, it.provider)
    can, known = _told(it.traits, *_abilities(snapshot, subject))
    served = None if it.traits is None else it.traits.context_tokens
    stated = snapshot.models.get(subject)
    window = snapshot.score(host, "context_window") if subject else None
    most = snapshot.score(host, "max_output") if subject else None
    tokens = snapshot.score(host, TOKENS) if subject else None
    charged = price is not None
    if price is None and subject and (listing := snapshot.price(host)) is not None:
        price = listing.price
    return Offer(
        name=it.name,
        provider=it.provider,
        model=it.model,
        endpoints=it.endpoints,
        subject=subject,
        host=host,
        effort="" if found is None else found.effort,
        family=subject.partition("/")[0],
        can=can,
        known=known,
        window_tokens=served
        or (int(window.value) if window else None)
        or (stated.context_tokens if stated else None)
        or bounds.input_tokens,
        output_most=int(most.value) if most else (stated.output_max_tokens if stated else None) or bounds.output_tokens,
        stated_tokens=None if tokens is None else tokens.value,
        price=price,
        charged=charged,
        writes=_writes(it.model, stated) if it.traits is None or it.traits.can is None else "chat" in it.traits.can,
    )


def _writes(name: str, stated: Model | None) -> bool:
    """Whether a model answers with text, as far as anybody says."""
    if stated is not None and (stated.modalities_out or stated.capabilities):
        return "text" in (stated.modalities_out or ("text",)) and "embeddings" not in stated.capabilities
    return OTHER_TRADES.search(name.lower()) is None


def resolved(resolver: Resolver, snapshot: Snapshot, provider: str, model: str, /) -> Resolution | None:
    """Which model an offer of ours is: by the provider's name for it, else by ``provider/model``; one of which anything is
    known goes before one of which nothing is.  ``None``: nobody knows."""
    first: Resolution | None = None
    for subject in (Subject(source_name=model, host=provider), Subject(source_name=f"{provider}/{model}")):
        found = resolver.resolve(provider, subject)
        if isinstance(found, Resolution):
            if snapshot.variants(found.model):
                return found
            first = first or found
    return first


def _abilities(snapshot: Snapshot, subject: str) -> tuple[int, int]:
    """What a model can do, and of what of it anything is known."""
    stated = snapshot.models.get(model_of(subject)) if subject else None
    if stated is None:
        return 0, 0
    can = known = 0
    for name in stated.capabilities:
        can |= BIT.get(name, 0)
    if stated.capabilities:
        known |= _ABILITIES
    if stated.modalities_in or stated.modalities_out:
        known |= _PERCEIVED
    for table, names in ((_MODALITIES_IN, stated.modalities_in), (_MODALITIES_OUT, stated.modalities_out)):
        for name in names:
            can |= BIT.get(table.get(name, ""), 0)
    return can, known | can


_TOLD: Final[Mapping[Skill, str]] = {"tools": "tools", "vision": "vision", "thinking": "reasoning"}


def _told(traits: Traits | None, can: int, known: int) -> tuple[int, int]:
    """The same where whoever runs a model says what it can: that goes before what is said of the model elsewhere."""
    if traits is None or traits.can is None:
        return can, known
    for ability, need in _TOLD.items():
        bit = BIT[need]
        can = can | bit if ability in traits.can else can & ~bit
        known |= bit
    return can, known


def bits(needs: Iterable[str], /) -> int:
    """The bits of what is needed; what is no capability is none."""
    mask = 0
    for name in needs:
        mask |= BIT.get(name, 0)
    return mask
