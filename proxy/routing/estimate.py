"""What each candidate would be worth for one request: how good, how dear, how slow.

The figures of a whole ``Slate`` are computed in one pass over parallel lists: a candidate costs about a third of a
microsecond.  Money is an integer when it comes out: the floats between are rates a token, not amounts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final

import msgspec

from ledger.prices.cost import MTOK, rates_for
from ledger.records import Price, Rates
from proxy.call import RouteField
from proxy.routing.features import PICTURE_TOKENS, Features
from proxy.routing.field import NEEDS, Field, Offer, Outlook, bits
from proxy.routing.pareto import UNKNOWN_MS, UNKNOWN_NUSD, UNKNOWN_QUALITY
from proxy.routing.policy import Abstain, Policy

ANYTHING: Final = RouteField()
NO_LIMIT: Final = 1 << 62


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Who may be asked at all.

    allowed: sets of patterns, each of which has to allow an offer by its name.  only: these offers and no others.
    strict: nobody whose price is unknown.
    """

    allowed: tuple[tuple[str, ...], ...] = ()
    only: frozenset[str] | None = None
    strict: bool = False


EVERYBODY: Final = Scope()


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests before this one, of one conversation, were answered by.

    warm_tokens: of the input, that its prompt cache is taken to hold.
    """

    offer: str
    warm_tokens: int = 0


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who cannot answer, and why, in a sentence."""

    name: str
    reason: str


class Slate:
    """The offers of an outlook that can answer requests of one kind for one caller, the best first.

    Parallel lists, by place on the slate: of each the place in the field, quality, tokens of an answer, milliseconds to the
    first and for each further token, nano-USD for a byte and a file of input, for a token of output, and for the request.
    """

    __slots__ = (
        *("byte_nusd", "cliff_tokens", "file_nusd", "fixed_nusd", "most_least", "names", "offers", "outlook", "outputs"),
        *("places", "preferred", "qualities", "rejected", "tiered", "token_ms", "token_nusd", "ttft_ms", "unpriced", "weak"),
        *("where", "window_least"),
    )

    def __init__(
        self,
        outlook: Outlook,
        able: tuple[int, ...],
        rejected: tuple[Rejected, ...],
        *,
        prefer: tuple[str, ...],
        least: Abstain | None,
    ) -> None:
        field = outlook.field
        qualities = outlook.qualities
        # Stable: those of equal quality stay in the order of their names.
        self.places = places = sorted(able, key=qualities.__getitem__, reverse=True)
        self.outlook = outlook
        self.rejected = rejected
        self.offers = [field.offers[place] for place in places]
        self.names = [offer.name for offer in self.offers]
        self.where = {name: place for place, name in enumerate(self.names)}
        self.qualities = [qualities[place] for place in places]
        self.outputs = [outlook.outputs[place] for place in places]
        self.ttft_ms = [outlook.ttft_ms[place] for place in places]
        self.token_ms = [outlook.token_ms[place] for place in places]
        per_byte = [outlook.tokens_per_byte[place] for place in places]
        prices = [offer.price for offer in self.offers]
        self.unpriced = [place for place, price in enumerate(prices) if price is None]
        self.byte_nusd = [
            0.0 if it is None else it.input_nusd_per_mtok * ratio / MTOK for it, ratio in zip(prices, per_byte, strict=True)
        ]
        self.file_nusd = [0.0 if it is None else it.input_nusd_per_mtok * PICTURE_TOKENS / MTOK for it in prices]
        self.token_nusd = [0.0 if it is None else it.output_nusd_per_mtok / MTOK for it in prices]
        self.fixed_nusd = [0.0 if it is None else float(it.request_nusd) for it in prices]
        self.tiered = [place for place, it in enumerate(prices) if it is not None and (it.context_tiers or it.service_tiers)]
        cliffs = [tier.above_tokens for it in prices if it is not None for tier in it.context_tiers]
        self.cliff_tokens = min(cliffs, default=NO_LIMIT)
        self.window_least = min((it.window_tokens for it in self.offers if it.window_tokens is not None), default=NO_LIMIT)
        self.most_least = min((it.output_most for it in self.offers if it.output_most is not None), default=NO_LIMIT)
        weak = () if least is None else (at for at, place in enumerate(places) if _is_weak(outlook, place, least))
        self.weak = frozenset(weak)
        self.preferred = frozenset(at for at, name in enumerate(self.names) if fits(prefer, name)) if prefer else frozenset()


def _is_weak(outlook: Outlook, place: int, least: Abstain) -> bool:
    """Whether too little is known of an offer."""
    return (
        outlook.qualities[place] == UNKNOWN_QUALITY
        or outlook.coverages[place] < least.coverage
        or outlook.confidences[place] < least.confidence
    )


def slate(outlook: Outlook, features: Features, constraints: RouteField, policy: Policy, scope: Scope) -> Slate:
    """The slate of a request; the same one for all like it, as long as nothing new is measured."""
    needs = bits(features.needs)
    able_key = (
        (features.endpoint, needs, scope.allowed, scope.only, scope.strict),
        (policy.allow, policy.deny, constraints.allow, constraints.deny),
    )
    key = (able_key, constraints.prefer, policy.abstain)
    found = outlook.slates.get(key)
    if found is None:
        able, rejected = _able(outlook.field, able_key, features, constraints, policy, scope)
        if len(outlook.slates) >= SLATES_MAX:
            outlook.slates.clear()
        found = outlook.slates[key] = Slate(outlook, able, rejected, prefer=constraints.prefer, least=policy.abstain)
    return found


SLATES_MAX: Final = 64
ABLE_MAX: Final = 256


def fits(patterns: tuple[str, ...], name: str, /) -> bool:
    """Whether one of the patterns means the offer; ``*`` matches slashes too."""
    return bool(patterns) and _compiled(patterns).match(name) is not None


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """All of them at once: callers may send dozens, against hundreds of names."""
    return re.compile("|".join(map(translate, patterns)))


def _able(
    field: Field, key: object, features: Features, constraints: RouteField, policy: Policy, scope: Scope
) -> tuple[tuple[int, ...], tuple[Rejected, ...]]:
    """Who can answer such requests, and of the others why not."""
    memo = field.able
    found = memo.get(key)
    if found is None:
        able, rejected = [], []
        needs = bits(features.needs)
        for place, offer in enumerate(field.offers):
            reason = _inability(offer, features.endpoint, needs, constraints, policy, scope)
            if reason is None:
                able.append(place)
            elif reason:
                rejected.append(Rejected(name=offer.name, reason=reason))
        if len(memo) >= ABLE_MAX:
            memo.clear()
        found = memo[key] = (tuple(able), tuple(rejected))
    return found


def _inability(offer: Offer, endpoint: str, needs: int, constraints: RouteField, policy: Policy, scope: Scope) -> str | None:
    """Why an offer cannot answer; empty: it was never asked for.  ``None``: it can."""
    if scope.only is not None and offer.name not in scope.only:
        return ""
    if any(not fits(patterns, offer.name) for patterns in scope.allowed):
        return "the key may not use it"
    for whose, patterns in (("policy", policy), ("request", constraints)):
        if patterns.allow and not fits(patterns.allow, offer.name):
            return f"it is none of those that the {whose} allows"
        if fits(patterns.deny, offer.name):
            return f"the {whose} denies it"
    if offer.endpoints and endpoint not in offer.endpoints:
        return f"its provider does not serve /v1/{endpoint}"
    if not offer.writes and endpoint != "embeddings":
        return "it does not write text"
    lacking = needs & ~offer.can
    # What nobody says of a model is taken for granted where a text will tell, not where a picture would be lost on it.
    lacking &= offer.known | _NEVER_ASSUMED
    if lacking:
        names = [name for place, name in enumerate(NEEDS) if lacking >> place & 1]
        unknown = not lacking & offer.known
        return f"it {'is not known to have' if unknown else 'does not have'} {', '.join(names)}"
    if scope.strict and not offer.charged:
        return "its price is unknown"
    return None


_NEVER_ASSUMED: Final = bits(("vision", "audio_in", "video", "file", "audio_out", "image_out"))


def costs_of(slate: Slate, features: Features, session: Session | None) -> list[int]:
    """What the request would cost at each, in nano-USD; ``UNKNOWN_NUSD`` where no price is known."""
    size, files, choices = features.text_bytes, features.files, features.choices
    outputs = _capped(slate, features)
    if files or choices > 1:
        each = zip(slate.byte_nusd, slate.file_nusd, slate.token_nusd, outputs, slate.fixed_nusd, strict=True)
        costs = [
            int(byte * size + file * files + token * output * choices + fixed) for byte, file, token, output, fixed in each
        ]
    else:
        columns = zip(slate.byte_nusd, slate.token_nusd, outputs, slate.fixed_nusd, strict=True)
        costs = [int(byte * size + token * output + fixed) for byte, token, output, fixed in columns]
    # A family may count more tokens than is usual: twice as many are room enough.
    if slate.tiered and (features.service_tier or 2 * features.input_tokens > slate.cliff_tokens):
        for at in slate.tiered:
            costs[at] = _tiered(slate, at, features, outputs[at])
    if session is not None and (at := slate.where.get(session.offer, -1)) >= 0:
        costs[at] -= _saved(slate, at, features, session)
    for at in slate.unpriced:
        costs[at] = UNKNOWN_NUSD
    return costs


def input_tokens(slate: Slate, at: int, features: Features) -> int:
    """What a model of that family is taken to count."""
    return int(features.text_bytes * slate.outlook.tokens_per_byte[slate.places[at]]) + features.files * PICTURE_TOKENS


def _tiered(slate: Slate, at: int, features: Features, output: float) -> int:
    price = slate.offers[at].price
    assert price is not None  # noqa: S101  # only those with a price have tiers
    tokens = input_tokens(slate, at, features)
    rates = rates_for(price, tokens, features.service_tier)
    output *= features.choices
    return int((tokens * rates.input_nusd_per_mtok + output * rates.output_nusd_per_mtok) / MTOK) + rates.request_nusd


def _saved(slate: Slate, at: int, features: Features, session: Session) -> int:
    """What the provider's prompt cache takes off, where it still holds what came before."""
    price: Price | None = slate.offers[at].price
    if price is None:
        return 0
    tokens = input_tokens(slate, at, features)
    rates: Rates = rates_for(price, tokens, features.service_tier)
    read = rates.cache_read_nusd_per_mtok
    if read is None or read >= rates.input_nusd_per_mtok:
        return 0
    return min(session.warm_tokens, tokens) * (rates.input_nusd_per_mtok - read) // MTOK


def latencies_of(slate: Slate, features: Features) -> list[float]:
    """How many milliseconds a whole answer takes from each; ``UNKNOWN_MS`` where nobody knows."""
    each = zip(slate.ttft_ms, slate.token_ms, _capped(slate, features), strict=True)
    return [first + token * output for first, token, output in each]


def _capped(slate: Slate, features: Features) -> list[float]:
    """How many tokens each would answer with."""
    if features.output_max is None:
        return slate.outputs
    most = float(features.output_max)
    return [output if output < most else most for output in slate.outputs]  # noqa: FURB136  # a third of the time of min()


def excess(slate: Slate, at: int, cost_nusd: int, latency_ms: float, features: Features, constraints: RouteField) -> str:
    """Which of the limits a candidate breaks, as a sentence; empty: none.  What is not known keeps to no limit."""
    offer = slate.offers[at]
    if offer.window_tokens is not None:
        tokens = input_tokens(slate, at, features) + (features.output_max or 1)
        if tokens > offer.window_tokens:
            return f"its context of {offer.window_tokens:,} tokens is too small for about {tokens:,}"
    if offer.output_most is not None and (features.output_max or 0) > offer.output_most:
        return f"it gives at most {offer.output_most:,} tokens, and {features.output_max:,} are asked for"
    if constraints.max_cost_nusd is not None and cost_nusd > constraints.max_cost_nusd:
        return (
            "its price is unknown"
            if cost_nusd == UNKNOWN_NUSD
            else (f"it would cost ${cost_nusd / 1e9:.6f}, more than ${constraints.max_cost_nusd / 1e9:.6f}")
        )
    if constraints.max_ttft_ms is not None and slate.ttft_ms[at] > constraints.max_ttft_ms:
        return _late("first token", slate.ttft_ms[at], constraints.max_ttft_ms)
    if constraints.max_latency_ms is not None and latency_ms > constraints.max_latency_ms:
        return _late("answer", latency_ms, constraints.max_latency_ms)
    if constraints.min_quality is not None and slate.qualities[at] < constraints.min_quality:
        quality = slate.qualities[at]
        return (
            "its quality is unknown"
            if quality == UNKNOWN_QUALITY
            else (f"its quality of {quality:.3f} is below {constraints.min_quality:.3f}")
        )
    return ""


def _late(what: str, found_ms: float, limit_ms: float) -> str:
    if found_ms == UNKNOWN_MS:
        return f"how long its {what} takes is unknown"
    return f"its {what} takes {found_ms:,.0f} ms, more than {limit_ms:,.0f}"


def is_bounded(constraints: RouteField) -> bool:
    """Whether there is any limit of cost, time or quality."""
    return (
        constraints.max_cost_nusd is not None
        or constraints.max_ttft_ms is not None
        or constraints.max_latency_ms is not None
        or constraints.min_quality is not None
    )


def within(slate: Slate, constraints: RouteField, costs: Sequence[int], latencies: Sequence[float]) -> list[int]:
    """The places of those who keep to the limits of cost, time and quality, as ``excess`` has them."""
    cost = UNKNOWN_NUSD if constraints.max_cost_nusd is None else min(constraints.max_cost_nusd, UNKNOWN_NUSD - 1)
    ttft = UNKNOWN_MS if constraints.max_ttft_ms is None else constraints.max_ttft_ms
    latency = UNKNOWN_MS if constraints.max_latency_ms is None else constraints.max_latency_ms
    quality = UNKNOWN_QUALITY if constraints.min_quality is None else constraints.min_quality
    each = zip(costs, latencies, slate.ttft_ms, slate.qualities, strict=True)
    return [
        at
        for at, (nusd, ms, first, good) in enumerate(each)
        if nusd <= cost and ms <= latency and first <= ttft and good >= quality
    ]


def may_not_fit(slate: Slate, features: Features) -> bool:
    """Whether the request may be too long for anybody; if not, nobody has to be looked at."""
    # A family may count more tokens than is usual: twice as many are room enough.
    return (
        2 * features.input_tokens + (features.output_max or 1) > slate.window_least
        or (features.output_max or 0) > slate.most_least
    )
