"""The composition root: configuration -> adapters -> pipeline -> ASGI app.  Owns the lifespan and every background task."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import httpx
import msgspec
import structlog
from msgspec.structs import replace
from pydantic import SecretStr

from ledger.adapters import aliases, anthropic_report, genai_prices, litellm_prices, openai_report, request_report
from ledger.adapters.sqlite import SqliteLedger
from ledger.adapters.sqlite_facts import SqliteFacts
from ledger.budgets.accounts import Accounts
from ledger.journal.reports import spent_by_account
from ledger.prices.book import Book
from ledger.records import Bounds, Key, Report
from ledger.refresh.refresher import Refresher
from providers.bridge import Bridge
from providers.signers import Signers
from providers.transport import Transport
from providers.websocket import Dialer, Keepalive
from proxy.api import rest
from proxy.api.admin.budgets import Standing
from proxy.api.door import Door, Turns
from proxy.api.drains import DrainLimits
from proxy.api.edge import Edge, Limits
from proxy.api.hosts import Hosts
from proxy.api.models import Models
from proxy.api.origins import Origins
from proxy.api.realtime import Realtime
from proxy.api.responses import Kept
from proxy.api.server import Deadlines, Server
from proxy.api.uploads import UploadLimits, Uploads
from proxy.attempts.realtime import Limits as SessionLimits
from proxy.attempts.realtime import Sessions
from proxy.attempts.spending import DAY_US
from proxy.attempts.translation import Translation, abilities
from proxy.caching.references import References
from proxy.call import Attempt, Call, Principal
from proxy.config import Config, key_faults
from proxy.deployments.catalogue import Catalogue
from proxy.deployments.held import Held
from proxy.deployments.upstreams import daily_caps_nusd, narrowed
from proxy.disk.cache_file import CacheFile
from proxy.disk.held_file import HeldFile
from proxy.disk.home import Home, Running
from proxy.disk.spool import SpoolLimits, Spools
from proxy.facts import asked as known_facts
from proxy.facts import sources
from proxy.facts.fields import Fields
from proxy.facts.live import Live
from proxy.facts.reader import ChildReader
from proxy.facts.web import HttpxWeb
from proxy.learning.judge import Judge
from proxy.learning.learned import Learned
from proxy.learning.records import decided
from proxy.metering import price_file
from proxy.metering import prices as price_lists
from proxy.metering.budgets import Budgets
from proxy.metering.budgets import declared as budgets_of
from proxy.metering.holds import Holds
from proxy.metering.outbox import Outbox
from proxy.metering.worst_case import Assumptions, WorstCases
from proxy.owners.declared import declared
from proxy.owners.directory import THIS_MACHINE, Directory
from proxy.owners.keys import KeyRing
from proxy.pipeline import Pipeline, Stages
from proxy.routing.auto import Auto
from proxy.routing.field import Field, Listed
from proxy.routing.field import build as build_field
from proxy.stages.auth import Auth
from proxy.stages.budget import Budget
from proxy.stages.fallback import Windows
from proxy.stages.meter import Meter
from proxy.stages.model_router import ModelRouter
from proxy.storage import Storage
from proxy.stores.memory_buckets import MemoryBuckets
from proxy.wiring import answers, limiting, policies
from proxy.wiring.greeting import KEY_VARIABLE, greeting
from proxy.wiring.traffic import Clocks, spending, traffic
from proxy.wiring.upkeep import Upkeep

REPORTS: dict[str, Callable[[bytes], Report]] = {
    "anthropic": anthropic_report.parse,
    "openai": openai_report.parse,
    "requests": request_report.parse,
}
"""What reads a provider's report, by its format."""
TOKEN_CONNECTIONS_MAX = 16
"""Open at once to who gives tokens for the accounts of providers."""

log = structlog.get_logger("tollway")

Say = Callable[[str], None]


class StartRefused(Exception):
    """Tollway does not start.  The text says why and what to do."""


async def serve(config: Config, home: Home, environ: Mapping[str, str], say: Say) -> None:
    """Serve until SIGTERM or SIGINT; then let requests finish, end those that do not, and account for all of them.

    say: prints a line for the person who started it.
    Raises: StartRefused; LedgerError, when the ledger cannot be opened.
    """
    try:
        home.make()
        pepper = home.pepper()
    except (OSError, ValueError) as error:
        raise StartRefused(f"TOLLWAY_HOME cannot be used: {error}") from error
    listener = _bind(config.server.host, config.server.port)
    catalogued = litellm_prices.load()
    try:
        priced = price_file.with_file(config, home.path)
    except price_file.PriceFileRefused as error:
        raise StartRefused(str(error)) from error
    prices = price_lists.book(priced, litellm=catalogued, genai=genai_prices.load(), clock_us=_now_us)
    with (
        listener,
        SqliteLedger(
            config.ledger.path(home.path),
            durability=config.ledger.durability,
            prices=prices,
            subscriptions=price_lists.subscriptions(config),
        ) as ledger,
    ):
        log.info("ledger_opened", path=str(ledger.path), durability=config.ledger.durability, sqlite=ledger.sqlite_version)
        recovery = await ledger.recover()
        if recovery.attempts_settled:
            log.warning("recovered", **msgspec.structs.asdict(recovery))
        token = secrets.token_urlsafe(32)
        ring = KeyRing(pepper, _now_us)
        directory = Directory(ring, ledger, _now_us)
        first_key = await _admit_keys(ring, directory, config, environ, token)
        holds = _holds(config, prices, catalogued)
        ledger.follow_adjustments(holds.adjusting)
        budgets = Budgets(holds.accounts, ledger, freed=holds.freed, clock_us=_now_us)
        await budgets.declare([*budgets_of(config), *directory.budgets()])
        own_url = f"http://{_reachable(config.server.host)}:{listener.getsockname()[1]}"
        priority = known_facts.priority(config)
        facts = SqliteFacts(ledger.path, aliases=aliases.load(), clock_us=_now_us, run=ledger.run, priority=priority)
        async with facts, httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
            tokens = Transport(connections_max=TOKEN_CONNECTIONS_MAX)
            bridge = Bridge()
            signers = Signers(environ, tokens, time.monotonic, bridge)
            catalogue = Catalogue(
                config,
                environ,
                client,
                prices=prices,
                names=catalogued.names,
                narrowed=narrowed(price_lists.bounds(catalogued, price_lists.litellm_words(config))),
                own_url=own_url,
                signers=signers,
            )
            refresher = sources.refresher(config, home.path, environ, HttpxWeb(client, _now_us), facts, _now_us, ChildReader())
            try:
                await catalogue.start()
                bounds = price_lists.told(
                    price_lists.bounds(catalogued, price_lists.litellm_words(config)),
                    catalogue.traits,
                )
                windows = price_lists.windows(bounds)
                fields = Fields(
                    lambda: catalogue.table, facts, prices, bounds, assumptions=policies.assumptions(config), clock_us=_now_us
                )
                gateway = _Gateway(
                    config,
                    home,
                    listener,
                    ledger,
                    facts,
                    prices,
                    ring,
                    directory,
                    catalogue,
                    holds,
                    budgets,
                    refresher,
                    lambda: sources.feed(config, home.path, refresher, facts, _now_us),
                    bounds=bounds,
                    windows=windows,
                    fields=fields,
                    pepper=pepper,
                    tokens=signers.keep_fresh,
                )
                await gateway.run(Running(pid=os.getpid(), url=own_url, token=token), first_key, say)
            finally:
                await catalogue.stop()
                await asyncio.to_thread(bridge.stop)
                await tokens.close()


def price_book(config: Config) -> Book:
    """The price book that a configuration leads to.  Raises: PricesUnreadable."""
    return price_lists.book(config, litellm=litellm_prices.load(), genai=genai_prices.load(), clock_us=_now_us)


def _standing(budgets: Budgets, budget_id: str) -> Standing | None:
    """How a budget stands in its present period."""
    for it in budgets.standing():
        if it.budget.id == budget_id:
            return Standing(settled=it.settled, reserved=it.reserved, period_start_us=it.start_us, period_end_us=it.end_us)
    return None


def _holds(config: Config, prices: Book, catalogued: litellm_prices.LitellmPrices) -> Holds:
    assumed = config.reservations
    worst_cases = WorstCases(
        prices,
        bounds=price_lists.bounds(catalogued, price_lists.litellm_words(config)),
        assumptions=Assumptions(
            input_bytes_per_token=assumed.input_bytes_per_token,
            output_tokens=assumed.assume_output_tokens,
            reference_tokens=assumed.assume_reference_tokens,
        ),
    )
    return Holds(Accounts(serialise=assumed.serialize_near_limit), worst_cases, wait_s=assumed.wait_timeout_s)


async def field_at(config: Config, home: Home, names: Sequence[str], at: str) -> Field:
    """What was known of these offers (``provider/model``), and what they cost, at a day's end, at a time, or by a snapshot.

    Raises: FactsUnreadable, PricesUnreadable; LookupError, when nothing was known then, or there was no such snapshot.
    """
    async with known(config, home) as facts:
        indices = await known_facts.indices_at(facts, at)
        at_us = indices.snapshot.at_us
        prices = price_book(config)
        return build_field(
            [Listed(provider=provider, model=model) for provider, _, model in (name.partition("/") for name in names)],
            indices=indices,
            resolver=facts.resolver,
            prices=lambda provider, model: prices.price(provider, model, at_us),
            bounds=price_lists.bounds(litellm_prices.load(), price_lists.litellm_words(config)),
            at_us=at_us,
            assumptions=policies.assumptions(config),
        )


def known(config: Config, home: Home) -> SqliteFacts:
    """The facts in a configuration's ledger, to be read; a server may have it open.  Raises: FactsUnreadable."""
    path = config.ledger.path(home.path)
    return SqliteFacts(path, aliases=aliases.load(), clock_us=_now_us, priority=known_facts.priority(config))


class _Gateway:
    """Everything that runs, put together."""

    def __init__(
        self,
        config: Config,
        home: Home,
        listener: socket.socket,
        ledger: SqliteLedger,
        facts: SqliteFacts,
        prices: Book,
        ring: KeyRing,
        directory: Directory,
        catalogue: Catalogue,
        holds: Holds,
        budgets: Budgets,
        refresher: Refresher,
        feed: Callable[[], Coroutine[None, None, None]],
        *,
        bounds: Callable[[str, str], Bounds],
        windows: Windows,
        fields: Fields,
        pepper: bytes,
        tokens: Callable[[], Coroutine[None, None, None]],
    ) -> None:
        self._tokens = tokens
        self._config = config
        self._fields = fields
        self._feed = feed
        self._home = home
        self._listener = listener
        self._directory = directory
        self._catalogue = catalogue
        self._ledger = ledger
        self._draining = False
        server = config.server
        request_id = _request_ids()
        self._transport = Transport(connections_max=server.max_connections)
        said = config.realtime
        self._dialer = Dialer(
            connections_max=server.max_connections,
            message_max_bytes=said.max_message_bytes,
            keepalive=Keepalive(ping_s=said.ping_s, pong_s=said.ping_s),
        )
        auth = Auth(ring)
        self._outbox = Outbox(ledger)
        caps = spending(daily_caps_nusd(config), lambda: _spent_today_nusd(ledger.path), _now_us)
        self._live = Live(home, lambda: facts.resolver, time.time, task_of=lambda call: call.routed.task)
        self._live.restore()
        learned = Learned(lambda: self._live.view, time.time)
        auto = Auto(
            lambda: fields.field,
            live=lambda: learned.view,
            broken=lambda: flow.broken(catalogue.table),
            policies=policies.policies(config),
            memory=policies.memory(config),
            clock_s=time.monotonic,
        )
        self._judge = Judge(
            learned,
            ledger,
            task_of=lambda call: call.routed.task,
            is_routed=lambda call: call.routed.decision is not None,
            clock_us=_now_us,
            again_s=config.routing.again_s,
        )
        meter = Meter(
            ledger,
            prices,
            _now_us,
            holds=holds,
            outbox=self._outbox,
            charged=(caps.charge,) if caps else (),
            ended=(self._live.observe, auto.observe),
            decided=decided(auto.asked) if config.routing.keep_days else None,
            listener=self._judge if config.routing.check_answers else None,
            put_off=self._put_off,
        )
        limits = limiting.build(
            config,
            MemoryBuckets(_monotonic_us),
            clock_s=time.monotonic,
            clock_us=_monotonic_us,
            rates_of=directory.rates,
        )
        self._held_file = HeldFile(home.path / "held.jsonl")
        self._held = held = Held(self._held_file.lines(), remember=self._held_file.add)
        self._held_file.rewrite(held.lines())
        # Where the tries go is no secret, and the same seed would lead all gateways the same way.
        clocks = Clocks(s=time.monotonic, us=_now_us, chance=random.random)
        translation = Translation(abilities(bounds))
        flow = traffic(
            config,
            self._transport,
            reserve=meter.reserve,
            watch=meter.watch,
            spending=caps,
            room=limits.room,
            windows=windows,
            cost_of=price_lists.estimates(prices),
            clocks=clocks,
            translation=translation,
            held=held,
            sessions=Sessions(
                dialer=self._dialer,
                books=meter,
                identify=auth.identify,
                limits=SessionLimits(
                    idle_s=said.idle_timeout_s,
                    total_s=said.total_timeout_s,
                    busy_s=config.reservations.wait_timeout_s,
                ),
            ),
        )
        router = ModelRouter(
            lambda: catalogue.table,
            prices=prices if config.ledger.unknown_price == "strict" else None,
            translation=translation,
            held=held,
            auto=auto,
            references=References(server.max_referenced_bytes),
        )
        self._named = answers.named(config, pepper, home.path)
        self._cache = answers.cache(config, pepper, self._named, before=(meter, router), clock_us=_now_us)
        self._storage = Storage(
            config,
            home,
            self._transport,
            ledger,
            self._outbox,
            holds,
            held,
            limiter=limits.stage,
            prices=prices,
            table=lambda: catalogue.table,
            parked=flow.parked,
            charged=(caps.charge,) if caps else (),
            request_id=request_id,
            clock_us=_now_us,
        )
        pipeline = Pipeline(
            Stages(
                auth=auth,
                meter=meter,
                model_router=router,
                cache=self._cache,
                rate_limiter=limits.stage,
                budget=Budget(holds),
                load_balancer=flow.load_balancer,
                circuit_breaker=flow.circuit_breaker,
                fallback=flow.fallback,
            )
        )
        application = rest.build(
            version=version("tollway"),
            directory=directory,
            journal=ledger,
            reconciler=ledger,
            facts=facts,
            agents=ledger,
            identify=auth.identify,
            checks=self._checks,
            now_us=_now_us,
            traffic=flow,
            refresher=refresher,
            measuring=self._live,
            forms=sources.FORMS,
            standing=lambda budget: _standing(budgets, budget),
            kept=Kept(
                held,
                self._transport,
                limiter=limits.stage,
                later=self._storage.background,
                table=lambda: catalogue.table,
                request_id=request_id,
                clock_s=time.monotonic,
            ),
            stored=self._storage.routers,
            auto=auto,
            explain=router.explained,
            learning=ledger,
            told=learned.told_now,
        )
        self._edge = Edge(
            pipeline,
            application,
            models=Models(
                lambda: catalogue.table,
                started_s=int(time.time()),
                policies=tuple(auto.policies),
                field=lambda: fields.field,
            ),
            identify=auth.identify,
            hosts=Hosts(server.host, server.hosts),
            origins=Origins(server.origins),
            limits=Limits(body_max_bytes=server.max_body_bytes, body_timeout_s=server.body_timeout_s),
            uploads=_uploads(config, home),
            drains=DrainLimits(concurrent_max=config.drains.max_concurrent, timeout_s=config.drains.timeout_s),
            overload=limits.overload,
            sockets=Realtime(
                pipeline,
                identify=auth.identify,
                hosts=Hosts(server.host, server.hosts),
                overload=limits.overload,
                at_work=lambda: self._edge.at_work,
                request_id=request_id,
                clock_s=time.monotonic,
                clock_us=_now_us,
            ),
            kept=self._storage.anthropic(auth.identify),
            key_in_query=server.key_in_query,
            request_id=request_id,
            clock_s=time.monotonic,
            clock_us=_now_us,
        )
        self._upkeep = Upkeep(config, ledger, meter, budgets, learned, limits.overload, self._edge, _now_us)
        directory.on_budget_change(self._upkeep.budget_changed)
        self._server = Server(
            self._edge,
            deadlines=Deadlines(
                header_s=server.header_timeout_s,
                write_s=server.write_timeout_s,
                connections_max=server.max_connections,
            ),
            door=Door(
                limits.overload,
                identify=auth.identify,
                at_work=lambda: self._edge.at_work,
                request_id=request_id,
                turns=Turns(time.thread_time, limits.overload.turned),
            ),
            request_id=request_id,
            keep_alive_s=round(server.keep_alive_timeout_s),
            shutdown_s=server.drain_timeout_s + 1,
            message_max_bytes=said.max_message_bytes,
            ping_s=said.ping_s,
        )

    async def run(self, running: Running, first_key: str | None, say: Say) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self._home.announce(running)
        # What is here now stays: the collector need not look at it again at every pass.
        gc.collect()
        gc.freeze()
        # A request makes a few hundred objects and hardly a cycle among them: every 700 is too often to look for some.
        gc.set_threshold(20_000, 20, 20)
        try:
            await self._storage.restore()
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(self._server.sweep(), name="sweep"),
                    group.create_task(self._catalogue.keep_fresh(), name="catalogue"),
                    group.create_task(self._tokens(), name="tokens"),
                    group.create_task(self._cache.run(), name="cache"),
                    group.create_task(self._outbox.deliver(), name="outbox"),
                    group.create_task(self._feed(), name="facts"),
                    group.create_task(self._live.run(), name="live"),
                    group.create_task(self._held_file.keep_small(self._held.__len__, self._held.lines), name="held"),
                    group.create_task(self._fields.run(), name="fields"),
                    group.create_task(self._judge.run(), name="judge"),
                    *(group.create_task(task, name=name) for name, task in self._storage.tasks()),
                    group.create_task(self._greet(running.url, first_key, say), name="greeting"),
                    *(group.create_task(task, name=name) for name, task in self._upkeep.tasks()),
                ]
                await self._server.serve(sockets=[self._listener])
                for task in background:
                    task.cancel()
        finally:
            self._home.withdraw()
            await self._outbox.flush()
            await self._live.close()
            await self._transport.close()
            await self._dialer.close()
            self._held_file.close()
            if isinstance(self._named, CacheFile):
                self._named.close()
            self._storage.close()

    def _stop(self) -> None:
        """The first signal begins the drain, the second ends it."""
        if self._draining:
            self._edge.drain()
            return
        self._draining = True
        self._server.should_exit = True
        self._edge.stop()
        log.info("draining", requests=self._edge.at_work, timeout_s=self._config.server.drain_timeout_s)
        asyncio.get_running_loop().call_later(self._config.server.drain_timeout_s, self._edge.drain)

    async def _put_off(self, call: Call, attempt: Attempt) -> bool:
        return await self._storage.background.note(call, attempt)

    async def _checks(self) -> dict[str, str]:
        return {
            "server": "draining" if self._draining else "ok",
            "ledger": "ok" if await self._ledger.is_writable() else "unavailable",
        }

    async def _greet(self, url: str, first_key: str | None, say: Say) -> None:
        await self._server.ready.wait()
        async for line in greeting(url, first_key, self._catalogue, self._directory.list_keys):
            say(line)


def _uploads(config: Config, home: Home) -> Uploads:
    server = config.server
    spools = Spools(home.path, SpoolLimits(count_max=server.max_uploads, total_max_bytes=server.max_spooled_bytes))
    spools.sweep()
    return Uploads(
        spools,
        UploadLimits(
            body_max_bytes=server.max_upload_bytes,
            whole_max_bytes=server.max_whole_upload_bytes,
            piece_timeout_s=server.body_timeout_s,
            timeout_s=server.upload_timeout_s,
        ),
    )


async def _admit_keys(
    ring: KeyRing, directory: Directory, config: Config, environ: Mapping[str, str], token: str
) -> str | None:
    """Accept the declared and the stored keys; make the first one where there is none, and return it.  Raises: StartRefused."""
    this_machine = Principal(key_id=THIS_MACHINE.id, name=THIS_MACHINE.name, admin=True)
    ring.admit(ring.digest(token), this_machine)
    said = declared(config, ring.digest)
    if given := environ.get(KEY_VARIABLE, ""):
        if faults := list(key_faults(SecretStr(given))):
            raise StartRefused(f"{KEY_VARIABLE} is refused: {'; '.join(faults)}")
        key = Key(id=KEY_VARIABLE, name=KEY_VARIABLE, digest=ring.digest(given), last4="", admin=True, models=(), created_us=0)
        said = replace(said, keys=(*said.keys, key))
    await directory.load(said)
    if any(key.revoked_us is None for key in directory.list_keys()):
        return None
    return (await directory.create_key("admin", {"admin": True}, actor=THIS_MACHINE)).secret


def _bind(host: str, port: int) -> socket.socket:
    """The listening socket, so that a port in use is known before anything else is started.  Raises: StartRefused."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise StartRefused(
            f"cannot listen on {host}:{port}: {error.strerror or error}; --port or server.port names another"
        ) from error
    listener.setblocking(False)
    return listener


def _reachable(host: str) -> str:
    """An address that reaches a server bound to ``host`` from this machine."""
    if host in ("0.0.0.0", ""):  # noqa: S104  # compared with, not bound to
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def _spent_today_nusd(path: Path) -> dict[tuple[str, str], int]:
    return spent_by_account(path, since_us=_now_us() // DAY_US * DAY_US)


def _now_us() -> int:
    return time.time_ns() // 1000


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000


def _request_ids() -> Callable[[], str]:
    """Ids that no two processes share: 64 random bits for this one, and a count.  They are names, not secrets."""
    prefix = f"req_{secrets.token_hex(8)}"
    count = itertools.count(1)
    return lambda: f"{prefix}{next(count):08x}"
