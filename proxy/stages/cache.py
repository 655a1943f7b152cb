"""Has this been answered already?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from providers.protocol import Kind
from providers.provider import protocol_of
from providers.registry import WIRES
from proxy.caching.entry import Entry, Form, Sealer, is_whole, is_whole_stream
from proxy.caching.flight import Flight, Flights, Listener
from proxy.caching.forms import Unfaithful
from proxy.caching.idempotency import REPLAYED, Idempotency, lost, reused
from proxy.caching.key import Keyer, Scope, fields_of, tenant_of
from proxy.caching.policy import Policies, Policy, Wish, applies, wish_of
from proxy.caching.replay import as_asked
from proxy.caching.semantic import Semantic, Vector, text_of
from proxy.call import Call, Completed, Origin, Reply, Streaming
from proxy.errors import Headers, NotCached, Overloaded, ProxyError, UpstreamRefused, of_cancellation
from proxy.routing.constraints import HEADER as ROUTE_HEADER
from proxy.stage import Service
from proxy.stores.store import CacheStore

BODY_MAX_BYTES = 4 * 1024 * 1024
"""Of a request; to know a larger one again would hold up everybody else for tens of milliseconds."""

UNKEPT: frozenset[Kind] = frozenset({"count", "compaction", "image", "speech", "transcript"})
"""Kinds whose answers are not kept: they cost nothing, are as large as all others together, or were made to be different."""

_ANSWERED_BY = frozenset({b"content-type", b"x-tollway-model", b"x-tollway-provider"})
_NO_COST = (b"x-tollway-cost-usd", b"0.000000000")
_NO_ATTEMPTS = (b"x-tollway-attempts", b"0")


class Counts(msgspec.Struct, kw_only=True):
    """What the cache has done since the start.

    hits, misses, joined, bypassed: calls.  kept: answers.  refused: answers that were not whole, or too large.
    damaged: entries that were not what had been kept, or another release's.  unfaithful: entries that could not be said in
    the form that was asked for.  similar: hits by meaning; they are among the misses too, since a vector was asked for.
    """

    hits: int = 0
    misses: int = 0
    joined: int = 0
    bypassed: int = 0
    kept: int = 0
    refused: int = 0
    damaged: int = 0
    unfaithful: int = 0
    similar: int = 0


class _Meaning(msgspec.Struct, kw_only=True):
    """text: what is compared.  frame: the key of all that has to be the same.  vector: of the text, once it is known."""

    text: str
    frame: bytes
    vector: Vector | None = None


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """key: of what is asked.  ttl_s: how long its answer is kept; 0: not at all.  meaning: where that is compared."""

    key: bytes
    wish: Wish
    ttl_s: float
    meaning: _Meaning | None = None


class Cache:
    """Answer from what was answered before; and let those who ask the same at the same time share one upstream call.

    A request with an ``Idempotency-Key`` is answered once, whatever the cache does with others.
    Reads: principal, head, body, headers, tiers.   Writes: cached.   Raises: 400 for a header that says nothing;
    504 ``not_cached``; 422 and 409 for an Idempotency-Key; 503; what the shared call raised.
    Config: cache.
    """

    def __init__(
        self,
        store: CacheStore,
        flights: Flights,
        *,
        policies: Policies,
        scope: Scope,
        secret: bytes,
        single_flight: bool,
        entry_max_bytes: int,
        clock_us: Callable[[], int],
        semantic: Semantic | None = None,
        idempotency: Idempotency | None = None,
    ) -> None:
        self.counts = Counts()
        self._store = store
        self._flights = flights
        self._policies = policies
        self._scope: Scope = scope
        self._keyer = Keyer(secret)
        self._sealer = Sealer(secret)
        self._single_flight = single_flight
        self._entry_max_bytes = entry_max_bytes
        self._clock_us = clock_us
        self._semantic = semantic
        self._idempotency = idempotency

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        if self._idempotency is not None and (slot := self._idempotency.slot(call)) is not None:
            return await self._once(call, slot, next, self._idempotency)
        return await self._answer(call, next)

    async def _answer(self, call: Call, next: Service) -> Reply:
        policy = self._policies.find(call.head.model)
        if policy.mode == "off":
            return await next(call)
        wish = wish_of(call)
        question = self._question(call, policy, wish)
        if question is not None and not wish.fresh:
            kept = await self._kept(call, question)
            if kept is not None:
                return kept
        if wish.only:
            raise NotCached("There is no kept answer to this request, and it takes no other.")
        if question is None or not wish.keep:
            return await self._pass(call, next)
        return await self._fetch(call, question, next)

    async def run(self) -> None:
        """Own the calls that are shared, until cancelled."""
        await self._flights.run()

    # --- what is asked -------------------------------------------------------------------------------------------------

    def _question(self, call: Call, policy: Policy, wish: Wish) -> _Question | None:
        """What the cache knows the call by; ``None``, if it is none of its business."""
        if wish.decline or call.upload is not None or len(call.body) > BODY_MAX_BYTES or WIRES[call.endpoint].kind in UNKEPT:
            return None
        try:
            fields: dict[str, Any] = fields_of(call.body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        if not applies(policy, wish, fields, protocol_of(call.endpoint)):
            return None
        ttl_s = policy.ttl_s if wish.ttl_s is None else min(policy.ttl_s, wish.ttl_s)
        key = self._key(call, call.endpoint, wish, fields)
        meaning = None
        if self._semantic is not None and ttl_s > 0 and not wish.fresh:
            said = text_of(call.endpoint, fields)
            if said is not None:
                meaning = _Meaning(text=said.text, frame=self._key(call, f"{call.endpoint} by meaning", wish, said.frame))
        return _Question(key=key, wish=wish, ttl_s=ttl_s, meaning=meaning)

    def _key(self, call: Call, endpoint: str, wish: Wish, fields: dict[str, Any]) -> bytes:
        return self._keyer.key(
            tenant=tenant_of(call.principal, self._scope),
            endpoint=endpoint,
            model=_asked_for(call),
            # Who stands by for a chosen model changes from one moment to the next; the choice is what is asked.
            tiers=call.tiers if call.routed.decision is None else call.tiers[:1],
            namespace=wish.namespace,
            fields=fields,
            protocol=protocol_of(call.endpoint),
            headers=_telling(call),
        )

    async def _pass(self, call: Call, next: Service) -> Reply:
        """As if there were no cache."""
        call.cached.state = "bypass"
        self.counts.bypassed += 1
        reply = await next(call)
        reply.headers.append((b"x-tollway-cache", b"bypass"))
        return reply

    # --- a kept answer -------------------------------------------------------------------------------------------------

    async def _kept(self, call: Call, question: _Question) -> Reply | None:
        """The kept answer, in the form that is asked for; its own form is looked for first."""
        forms: tuple[Form, Form] = ("stream", "whole") if call.head.stream else ("whole", "stream")
        for form in forms:
            slot = _slot(question.key, form)
            data = await self._store.get(slot)
            if data is None:
                continue
            entry = self._sealer.open(slot, data)
            if entry is None:
                self.counts.damaged += 1
                await self._store.delete(slot)
                continue
            age_s = max(self._clock_us() - entry.made_us, 0) / 1e6
            if question.wish.max_age_s is not None and age_s > question.wish.max_age_s:
                continue
            try:
                entry = as_asked(entry, call.endpoint, forms[0], shows_usage=call.head.include_usage is True)
            except Unfaithful:
                self.counts.unfaithful += 1
                continue
            call.cached.state = "hit"
            call.cached.origin = entry.origin
            self.counts.hits += 1
            return _replayed(entry, int(age_s))
        return None

    async def _similar(self, call: Call, next: Service, *, semantic: Semantic, question: _Question, meaning: _Meaning) -> Reply:
        """The kept answer to a question that means the same, or else a new one."""
        meaning.vector = await semantic.vector(call, meaning.text, next)
        found = None if meaning.vector is None else semantic.find(meaning.frame, meaning.vector)
        if found is not None:
            key, score = found
            kept = await self._kept(call, msgspec.structs.replace(question, key=key))
            if kept is not None:
                self.counts.similar += 1
                kept.headers.append((b"x-tollway-similarity", b"%.4f" % score))
                return kept
            semantic.neighbours.discard(meaning.frame, key)
        return await next(call)

    # --- an answer that is fetched -------------------------------------------------------------------------------------

    async def _fetch(self, call: Call, question: _Question, next: Service) -> Reply:
        """Ask for it, or join somebody who does.  When that fails, one of those who joined asks once more for all."""
        form: Form = "stream" if call.head.stream else "whole"
        key = _slot(question.key, form) + (b"u" if call.head.include_usage else b"")
        shares = self._single_flight and not question.wish.fresh
        failures = 0
        while True:
            flight = self._flights.find(key) if shares else None
            leads = flight is None
            if flight is None:
                landing = partial(self._keep, question=question, slot=_slot(question.key, form))
                service = self._asking(question, next)
                flight = self._flights.launch(key, call, service, landing, joinable=shares)
                if flight is None:
                    return await self._pass(call, next)
            listener = await _boarded(call, flight, leads=leads)
            if leads:
                call.cached.state = _state(call, leads=True)
                self.counts.misses += 1
                if flight.whole is None and flight.stream is None and flight.error is not None:
                    raise flight.error
                return _shared(call, flight, listener, leads=True)
            call.cached.state = "joined"
            if flight.whole is not None or flight.stream is not None:
                self.counts.joined += 1
                return _shared(call, flight, listener, leads=False)
            if failures or _is_everybodys(flight, call):
                raise _twin(flight.error) from flight.error
            failures += 1 if flight.call.trail else 0

    # --- a request with a name of its own ------------------------------------------------------------------------------

    async def _once(self, call: Call, slot: bytes, next: Service, idempotency: Idempotency) -> Reply:
        """Answer a request that may have been answered already, or is being answered.  It happens once, whoever leaves."""
        flight = self._flights.find(slot)
        leads = flight is None
        if flight is None:
            flight = self._flights.launch(
                slot,
                call,
                # Looked for in there: whoever asks meanwhile joins, and nobody comes between.
                partial(self._found, slot=slot, next=next, idempotency=idempotency),
                partial(self._keep_named, slot=slot, idempotency=idempotency),
                joinable=True,
                persists=True,
            )
            if flight is None:
                raise Overloaded("Too many requests with an Idempotency-Key are under way.", retry_after_s=1)
        elif not idempotency.is_same(call, flight.call):
            raise reused()
        elif not flight.is_kept:
            raise lost()
        listener = await _boarded(call, flight, leads=leads)
        if flight.whole is None and flight.stream is None:
            listener.close()
            if leads and flight.error is not None:
                raise flight.error
            raise _twin(flight.error) from flight.error
        if leads:
            return _shared(call, flight, listener, leads=True, state=call.cached.state)
        call.cached.state = "joined"
        self.counts.joined += 1
        reply = _shared(call, flight, listener, leads=False)
        reply.headers.append(REPLAYED)
        return reply

    async def _found(self, call: Call, /, *, slot: bytes, next: Service, idempotency: Idempotency) -> Reply:
        """What was answered before; else the answer."""
        entry = await idempotency.find(slot, call)
        if entry is None:
            return await self._answer(call, next)
        call.cached.state = "hit"
        call.cached.origin = entry.origin
        self.counts.hits += 1
        reply = _replayed(entry, int(max(self._clock_us() - entry.made_us, 0) / 1e6))
        reply.headers.append(REPLAYED)
        return reply

    async def _keep_named(self, flight: Flight, *, slot: bytes, idempotency: Idempotency) -> None:
        """Keep what the flight brought, if it was answered; whether its answer is good is for the caller to say."""
        headers = flight.whole.headers if flight.whole is not None else flight.stream[1] if flight.stream else []
        if REPLAYED in headers or flight.outcome:
            return
        if flight.whole is not None:
            form: Form = "whole"
            body: bytes | None = flight.whole.body
        else:
            form, body = "stream", flight.events
        entry = None
        if body is not None and len(body) <= self._entry_max_bytes:
            entry = Entry(
                made_us=self._clock_us(),
                form=form,
                content_type=_content_type(headers),
                body=body,
                origin=_origin(flight) or _NOBODY,
                closing=flight.closing,
            )
        await idempotency.keep(slot, flight.call, entry)

    def _asking(self, question: _Question, next: Service) -> Service:
        """What is asked for the answer: first, where that is compared, for one to a question that means the same."""
        if self._semantic is None or question.meaning is None:
            return next
        return partial(self._similar, next=next, semantic=self._semantic, question=question, meaning=question.meaning)

    async def _keep(self, flight: Flight, *, question: _Question, slot: bytes) -> None:
        """Keep what the flight brought, if it is whole."""
        call = flight.call
        last = call.trail[-1] if call.trail else None
        if question.ttl_s <= 0 or last is None or last.outcome != "ok" or flight.outcome:
            return
        if flight.whole is not None:
            form: Form = "whole"
            headers, body = flight.whole.headers, flight.whole.body
            good = flight.whole.status == 200 and is_whole(call.endpoint, call.head, body)
        else:
            form = "stream"
            headers, body = flight.stream[1] if flight.stream else [], flight.events or b""
            good = bool(body or flight.closing) and is_whole_stream(call.endpoint, call.head, body, flight.closing)
        if not good or len(body) > self._entry_max_bytes:
            self.counts.refused += 1
            return
        entry = Entry(
            made_us=self._clock_us(),
            form=form,
            content_type=_content_type(headers),
            body=body,
            origin=_origin(flight) or _NOBODY,
            closing=flight.closing,
            shows_usage=call.head.include_usage is True,
        )
        await self._store.put(slot, self._sealer.seal(slot, entry), ttl_s=question.ttl_s)
        self.counts.kept += 1
        meaning = question.meaning
        if self._semantic is not None and meaning is not None and meaning.vector is not None:
            self._semantic.neighbours.add(meaning.frame, meaning.vector, question.key)


def _asked_for(call: Call) -> str:
    """The name that was asked for; of a model that was chosen, with what its caller asked of the choice by a header."""
    if call.routed.decision is None:
        return call.head.model
    return f"{call.head.model}\n{call.header(ROUTE_HEADER) or ''}"


async def _boarded(call: Call, flight: Flight, *, leads: bool) -> Listener:
    """A listener of the flight, when it has its reply or has failed."""
    listener = flight.join()
    try:
        await listener.boarded()
    except asyncio.CancelledError as cancelled:
        call.cached.state = _state(call, leads=leads)
        listener.fail(of_cancellation(cancelled))
        if leads:
            # Its tries go on its own record, however long they take for the others.
            await flight.landed()
        raise
    return listener


def _state(call: Call, *, leads: bool) -> str:
    """What to call it: who leads may have found an answer to a question that means the same."""
    if not leads:
        return "joined"
    return "hit" if call.cached.state == "hit" else "miss"


def _telling(call: Call) -> list[tuple[bytes, bytes]]:
    """The client's headers that go on to the upstream, in an order of their own."""
    let_through = WIRES[call.endpoint].lets_through
    return sorted(header for header in call.headers if header[0] in let_through) if let_through else []


def _slot(key: bytes, form: Form) -> bytes:
    return key + (b"s" if form == "stream" else b"w")


_NOBODY = Origin(provider="", model="", answered_model="", at_us=0)


def _origin(flight: Flight) -> Origin | None:
    """Which try made the answer."""
    if not flight.call.trail:
        return flight.call.cached.origin
    last = flight.call.trail[-1]
    if last.outcome != "ok":
        return None
    return Origin(
        provider=last.deployment.upstream.provider,
        model=last.deployment.model,
        answered_model=last.answered_model,
        at_us=last.started_us,
        usage=None if last.usage is None else replace(last.usage, raw=b""),
        usage_raw=last.usage_raw,
        output_estimate=last.output_estimate,
    )


# --- replies -------------------------------------------------------------------------------------------------------------


class _Replayed:
    """A kept stream: all of its events at once."""

    def __init__(self, entry: Entry) -> None:
        self._events = entry.body
        self.closing = entry.closing
        self.fault: ProxyError | None = None

    async def read(self, write: Callable[[bytes], bool] | None = None) -> bytes:
        events, self._events = self._events, b""
        return b"" if write is not None and events and write(events) else events

    def fail(self, error: ProxyError) -> None:
        self.fault = error

    def close(self) -> None:
        """There is nothing to let go of."""


def _replayed(entry: Entry, age_s: int) -> Reply:
    headers: Headers = [
        (b"content-type", entry.content_type),
        (b"x-tollway-model", entry.origin.model.encode("utf-8", "replace")),
        (b"x-tollway-provider", entry.origin.provider.encode()),
        _NO_ATTEMPTS,
        (b"x-tollway-cache", b"hit"),
        (b"age", b"%d" % age_s),
    ]
    if entry.form == "whole":
        return Completed(status=200, headers=headers, body=entry.body)
    chunks = _Replayed(entry)
    reply = Streaming(200, [*headers, _NO_COST], chunks, kept=True)

    async def ended() -> None:
        reply.outcome = "" if chunks.fault is None else chunks.fault.code

    reply.on_end(ended)
    return reply


def _shared(call: Call, flight: Flight, listener: Listener, *, leads: bool, state: str | None = None) -> Reply:
    """The flight's reply for one of those who listen.   state: what the headers of its leader say already, if anything."""
    told = (b"x-tollway-cache", b"miss" if leads else b"joined")
    # By its meaning it had been answered before: then its headers say so already.
    own = [] if state is not None or call.cached.state == "hit" else [told]
    if flight.whole is not None:
        listener.close()
        whole = flight.whole
        if not leads:
            call.cached.origin = _origin(flight)
        headers = [*whole.headers, *own] if leads else [*_answered_by(whole.headers), _NO_ATTEMPTS, told]
        return Completed(status=whole.status, headers=headers, body=whole.body)
    status, sent = flight.stream or (200, [])
    headers = [*sent, *own] if leads else [*_answered_by(sent), _NO_ATTEMPTS, _NO_COST, told]
    reply = Streaming(status, headers, listener)

    async def ended() -> None:
        if leads:
            # Its client may have left while others listen on: the record waits for the end of the try.
            await flight.landed()
        else:
            call.cached.origin = _origin(flight)
        reply.outcome = flight.outcome if listener.fault is None else listener.fault.code

    reply.on_end(ended)
    return reply


def _content_type(headers: Headers) -> bytes:
    return next((value for name, value in headers if name == b"content-type"), b"")


def _answered_by(headers: Headers) -> Headers:
    """The headers that tell of the answer; the others tell of the caller who asked for it."""
    return [(name, value) for name, value in headers if name in _ANSWERED_BY]


# --- errors --------------------------------------------------------------------------------------------------------------


def _is_everybodys(flight: Flight, call: Call) -> bool:
    """Whether who joined would get the same error: the request is at fault; or its key was refused before anything was sent."""
    if isinstance(flight.error, UpstreamRefused):
        return True
    ours, theirs = call.principal, flight.call.principal
    return not flight.call.trail and ours is not None and theirs is not None and ours.key_id == theirs.key_id


def _twin(error: Exception | None) -> ProxyError:
    """The same error for somebody else; one exception that many raise would gather the tracebacks of all."""
    if not isinstance(error, ProxyError):
        return ProxyError("Something went wrong in the gateway.")
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
