"""What the choice of a model remembers from one request to the next: its policies, sessions, receipts, and how many bytes
the models of each family have to a token.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ledger.records import Settlement
from proxy.call import Attempt, Call, RouteField
from proxy.errors import InvalidRequest, ModelNotFound
from proxy.routing import constraints
from proxy.routing.estimate import Scope, Session
from proxy.routing.features import Features, features_of
from proxy.routing.field import Field
from proxy.routing.live import Live, LiveOffers
from proxy.routing.policy import POLICIES, Policy
from proxy.routing.router import Decision, decide
from proxy.routing.sessions import session_of

AUTO: Final = "auto"
FAMILIES_MAX: Final = 256
FORGETS: Final = 0.99
"""What is left of what was counted of a family's bytes and tokens with each further answer."""
PRIOR_TOKENS: Final = 20_000.0
"""How many tokens the usual ratio is worth beside those that were metered."""

LOOK_S: Final = 0.1
"""Between two looks at who is broken; the circuit breaker looks at every request anyhow."""

_body: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """receipts_max: decisions that are kept to be told.  sessions_max, session_s: conversations, and for how long after
    their last request.  warm_s: how long providers keep a prompt's beginning.
    """

    receipts_max: int = 1_000
    sessions_max: int = 10_000
    session_s: float = 3_600.0
    warm_s: float = 300.0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that was made.  standing_in: who answered for it, where nobody could or too little was known."""

    key_id: str
    at_us: int
    decision: Decision
    standing_in: str = ""


class _Conversation(msgspec.Struct, frozen=True):
    offer: str
    tokens: int
    at_s: float


class Auto:
    """Decides for calls.

    field: who can be asked, now.  live: what is measured, now.  broken: the offers that cannot be asked just now, and why.
    clock_s: monotonic.
    """

    def __init__(
        self,
        field: Callable[[], Field],
        *,
        live: Callable[[], LiveOffers],
        broken: Callable[[], Mapping[str, str]] = dict,
        policies: Mapping[str, Policy] = POLICIES,
        memory: Memory = Memory(),  # noqa: B008  # frozen
        clock_s: Callable[[], float],
    ) -> None:
        self.policies = policies
        self._field = field
        self._live_offers = live
        self._broken = broken
        self._ill: Mapping[str, str] = {}
        self._looked_s = -LOOK_S
        self._memory = memory
        self._clock_s = clock_s
        self._sessions: OrderedDict[str, _Conversation] = OrderedDict()
        self._receipts: OrderedDict[str, Kept] = OrderedDict()
        self._tokens: dict[str, tuple[float, float]] = {}
        self._ratios: Mapping[str, float] = MappingProxyType({})
        self._live = Live(offers=live())

    @property
    def knows_anybody(self) -> bool:
        """Whether there is anybody to choose from."""
        return bool(self._field().offers)

    def wants(self, name: str) -> bool:
        """Whether a name asks for a choice: ``auto``, one of its policies, or whoever the rest of it means by price, or by
        throughput.  Source: openrouter.ai/docs/features/provider-routing, read 2026-11.
        """
        return name == AUTO or name.startswith("auto:") or name.endswith((":floor", ":nitro"))

    def parsed(self, name: str) -> tuple[str, str]:
        """A name's policy, and whom it is to choose from; empty: everybody."""
        if name == AUTO or name.startswith(f"{AUTO}:"):
            return name, ""
        rest, _, sort = name.rpartition(":")
        return f"{AUTO}:{sort}", rest

    def policy(self, name: str) -> Policy:
        """Raises: ModelNotFound."""
        found = self.policies.get(name)
        if found is None:
            raise ModelNotFound(f"There is no policy '{name}'; there are: {', '.join(self.policies)}.", param="model")
        return found

    def asked(self, call: Call) -> RouteField:
        """What the call's caller asks of the choice.  Raises: InvalidRequest."""
        header = call.header(constraints.HEADER)
        return constraints.joined(call.head.route, None if header is None else constraints.of_header(header))

    def decide(self, call: Call, policy: Policy, wanted: RouteField, scope: Scope, features: Features) -> Decision:
        """Decide who answers a call.  If only those who are broken could, they are asked: somebody has to find out."""
        session = self.session(call)
        now_s = self._clock_s()
        if now_s >= self._looked_s + LOOK_S:
            self._ill, self._looked_s = self._broken(), now_s
        for broken in (self._ill, {}):
            decision = decide(
                self._field(),
                features,
                policy,
                constraints=wanted,
                live=self.live(),
                scope=scope,
                session=session,
                broken=broken,
                seed=call.id,
            )
            if decision.order or not broken:
                break
        return decision

    def live(self) -> Live:
        """What is measured just now."""
        offers = self._live_offers()
        if offers is not self._live.offers:
            self._live = Live(offers=offers, bytes_per_token=self._ratios)
        return self._live

    # --- what is remembered --------------------------------------------------------------------------------------------

    def keep(self, call: Call, decision: Decision, *, standing_in: str = "") -> None:
        """Remember a decision, to be told."""
        call.routed.task = decision.features.task
        call.routed.text_bytes = decision.features.text_bytes if not decision.features.files else 0
        call.routed.decision = decision
        call.routed.standing_in = standing_in
        key_id = "" if call.principal is None else call.principal.key_id
        self._receipts[call.id] = Kept(key_id=key_id, at_us=call.received_us, decision=decision, standing_in=standing_in)
        if len(self._receipts) > self._memory.receipts_max:
            self._receipts.popitem(last=False)

    def kept(self, request_id: str) -> Kept | None:
        """The decision on a request, if it is still remembered."""
        return self._receipts.get(request_id)

    def observe(self, call: Call, attempt: Attempt, settlement: Settlement | None) -> None:
        """Learn from a try of a call that was decided on: who answers the conversation, and what its tokens were."""
        if not call.routed.task or attempt.outcome != "ok" or settlement is None or settlement.quality != "exact":
            return
        tokens = settlement.tokens.input_tokens
        offer = attempt.deployment.name
        if session := session_of(call):
            self._sessions.pop(session, None)
            self._sessions[session] = _Conversation(offer, tokens, self._clock_s())
            if len(self._sessions) > self._memory.sessions_max:
                self._sessions.popitem(last=False)
        if call.routed.text_bytes and tokens:
            self._count(offer, call.routed.text_bytes, tokens)

    def _count(self, offer: str, text_bytes: int, tokens: int) -> None:
        field = self._field()
        place = field.places.get(offer)
        family = "" if place is None else field.offers[place].family
        if not family or (family not in self._tokens and len(self._tokens) >= FAMILIES_MAX):
            return
        usual = field.assumptions.bytes_per_token
        counted_bytes, counted = self._tokens.get(family, (usual * PRIOR_TOKENS, PRIOR_TOKENS))
        kept_bytes, kept = counted_bytes * FORGETS + text_bytes, counted * FORGETS + tokens
        self._tokens[family] = kept_bytes, kept
        # No tokenizer is that far from the others: whoever sends such figures, estimates stay sane.
        self._ratios = MappingProxyType({**self._ratios, family: min(max(kept_bytes / kept, 1.0), 16.0)})

    def session(self, call: Call) -> Session | None:
        """Who answered the call's conversation so far, if it is one and somebody remembers."""
        name = session_of(call)
        found = self._sessions.get(name) if name else None
        if found is None:
            return None
        age_s = self._clock_s() - found.at_s
        if age_s > self._memory.session_s:
            del self._sessions[name]
            return None
        return Session(offer=found.offer, warm_tokens=found.tokens if age_s <= self._memory.warm_s else 0)


def features_for(call: Call, task: str) -> Features:
    """The features of a call whose body was let in.  task: what it is said to be.  Raises: InvalidRequest."""
    try:
        fields = _body(call.body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest("The body cannot be read.") from error
    return features_of(
        call.endpoint,
        fields,
        size_bytes=len(call.body),
        payload_bytes=call.head.weight.payload_bytes,
        escapes=call.body.count(b"\\u"),
        output_max=call.head.output_max,
        task=task,
    )
