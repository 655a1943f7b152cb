"""The composition root: configuration -> adapters -> pipeline -> ASGI app.  Owns the lifespan and every background task."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version

import httpx
import msgspec
import structlog
from msgspec.structs import replace
from pydantic import SecretStr

from ledger.adapters import anthropic_report, genai_prices, litellm_prices, openai_report, request_report
from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerUnavailable
from ledger.prices.book import Book
from ledger.records import Key, Report
from providers.transport import Transport
from proxy import prices as price_lists
from proxy.api import rest
from proxy.api.drains import DrainLimits
from proxy.api.edge import Edge, Limits
from proxy.api.hosts import Hosts
from proxy.api.models import Models
from proxy.api.server import Deadlines, Server
from proxy.call import Principal
from proxy.catalogue import Catalogue
from proxy.config import Config, key_faults
from proxy.home import Home, Running
from proxy.keys import KeyRing
from proxy.owners.declared import declared
from proxy.owners.directory import THIS_MACHINE, Directory
from proxy.pipeline import Pipeline, Stages
from proxy.stages.auth import Auth
from proxy.stages.fallback import Fallback, Retries
from proxy.stages.load_balancer import LoadBalancer
from proxy.stages.meter import Meter
from proxy.stages.model_router import ModelRouter

KEY_VARIABLE = "TOLLWAY_API_KEY"
LISTING_S = 2.0
"""How long the start waits to be able to say which models were found; it serves meanwhile."""

PROGRESS_S = 1.0
"""Between two notes of how far streams have come: what a crash can leave uncharged of them."""
HEAD_S = 3600.0
HOLDS_S = 3600.0
HOUR_US = 3_600_000_000

REPORTS: dict[str, Callable[[bytes], Report]] = {
    "anthropic": anthropic_report.parse,
    "openai": openai_report.parse,
    "requests": request_report.parse,
}
"""What reads a provider's report, by its format."""

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
    prices = price_lists.book(config, litellm=catalogued, genai=genai_prices.load(), clock_us=_now_us)
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
        own_url = f"http://{_reachable(config.server.host)}:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
            catalogue = Catalogue(config, environ, client, prices=prices, names=catalogued.names, own_url=own_url)
            try:
                await catalogue.start()
                await _Gateway(config, home, listener, ledger, prices, ring, directory, catalogue).run(
                    Running(pid=os.getpid(), url=own_url, token=token), first_key, say
                )
            finally:
                await catalogue.stop()


def price_book(config: Config) -> Book:
    """The price book that a configuration leads to.  Raises: PricesUnreadable."""
    return price_lists.book(config, litellm=litellm_prices.load(), genai=genai_prices.load(), clock_us=_now_us)


class _Gateway:
    """Everything that runs, put together."""

    def __init__(
        self,
        config: Config,
        home: Home,
        listener: socket.socket,
        ledger: SqliteLedger,
        prices: Book,
        ring: KeyRing,
        directory: Directory,
        catalogue: Catalogue,
    ) -> None:
        self._config = config
        self._home = home
        self._listener = listener
        self._directory = directory
        self._catalogue = catalogue
        self._ledger = ledger
        self._draining = False
        server = config.server
        request_id = _request_ids()
        self._transport = Transport(connections_max=server.max_connections)
        auth = Auth(ring)
        self._meter = meter = Meter(ledger, prices, _now_us)
        pipeline = Pipeline(
            Stages(
                auth=auth,
                meter=meter,
                model_router=ModelRouter(
                    lambda: catalogue.table, prices=prices if config.ledger.unknown_price == "strict" else None
                ),
                load_balancer=LoadBalancer(),
                fallback=Fallback(
                    self._transport,
                    reserve=meter.reserve,
                    watch=meter.watch,
                    retries=Retries(attempts_max=config.retries.max_attempts, total_s=config.retries.total_timeout_s),
                    clock_s=time.monotonic,
                    clock_us=_now_us,
                ),
            )
        )
        application = rest.build(
            version=version("tollway"),
            directory=directory,
            journal=ledger,
            reconciler=ledger,
            agents=ledger,
            identify=auth.identify,
            checks=self._checks,
            now_us=_now_us,
        )
        self._edge = Edge(
            pipeline,
            application,
            models=Models(lambda: catalogue.table, started_s=int(time.time())),
            identify=auth.identify,
            hosts=Hosts(server.host, server.hosts),
            limits=Limits(body_max_bytes=server.max_body_bytes, body_timeout_s=server.body_timeout_s),
            drains=DrainLimits(concurrent_max=config.drains.max_concurrent, timeout_s=config.drains.timeout_s),
            request_id=request_id,
            clock_s=time.monotonic,
            clock_us=_now_us,
        )
        self._server = Server(
            self._edge,
            deadlines=Deadlines(
                header_s=server.header_timeout_s,
                write_s=server.write_timeout_s,
                connections_max=server.max_connections,
            ),
            request_id=request_id,
            keep_alive_s=round(server.keep_alive_timeout_s),
            shutdown_s=server.drain_timeout_s + 1,
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
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(self._server.sweep(), name="sweep"),
                    group.create_task(self._catalogue.keep_fresh(), name="catalogue"),
                    group.create_task(self._note_progress(), name="progress"),
                    group.create_task(self._tell_head(), name="head"),
                    group.create_task(self._lapse_holds(), name="holds"),
                    group.create_task(self._greet(running.url, first_key, say), name="greeting"),
                ]
                await self._server.serve(sockets=[self._listener])
                for task in background:
                    task.cancel()
        finally:
            self._home.withdraw()
            await self._transport.close()

    async def _note_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            self._meter.note_progress()

    async def _tell_head(self) -> None:
        """Log the journal's head: who keeps the logs elsewhere can see later that nothing behind it was made anew."""
        while True:
            with suppress(LedgerUnavailable):
                log.info("ledger_head", head=(await self._ledger.chain_head()).hex())
            await asyncio.sleep(HEAD_S)

    async def _lapse_holds(self) -> None:
        """Resolve what is held for too long; the ledger's file is asked every hour."""
        ledger = self._config.ledger
        while True:
            with suppress(LedgerUnavailable):
                count = await self._ledger.lapse_holds(hold_us=ledger.hold_hours * HOUR_US, policy=ledger.after_hold)
                if count:
                    log.warning("holds_lapsed", attempts=count, policy=ledger.after_hold)
            await asyncio.sleep(HOLDS_S)

    def _stop(self) -> None:
        """The first signal begins the drain, the second ends it."""
        if self._draining:
            self._edge.drain()
            return
        self._draining = True
        self._server.should_exit = True
        log.info("draining", requests=self._edge.at_work, timeout_s=self._config.server.drain_timeout_s)
        asyncio.get_running_loop().call_later(self._config.server.drain_timeout_s, self._edge.drain)

    async def _checks(self) -> dict[str, str]:
        return {
            "server": "draining" if self._draining else "ok",
            "ledger": "ok" if await self._ledger.is_writable() else "unavailable",
        }

    async def _greet(self, url: str, first_key: str | None, say: Say) -> None:
        await self._server.ready.wait()
        say(f"base URL: {url}/v1")
        say(f"API key: {first_key or self._about_keys()}")
        await self._catalogue.listed(timeout_s=LISTING_S)
        for line in self._catalogue.describe():
            say(line)
        key = first_key or f"${KEY_VARIABLE}"
        say(f"try it: {_curl(url, key, self._catalogue.example())}")

    def _about_keys(self) -> str:
        stored = [key for key in self._directory.list_keys() if key.revoked_us is None and key.created_us]
        if not stored:
            return f"as {KEY_VARIABLE} or the configuration say"
        return f"made at an earlier start and not shown again; `tollway keys create NAME` makes another ({len(stored)} live)"


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


def _curl(url: str, key: str, model: str) -> str:
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello in five words."}}]}}'
    quote = '"' if key.startswith("$") else "'"
    return (
        f"curl {url}/v1/chat/completions -H {quote}Authorization: Bearer {key}{quote} "
        f"-H 'content-type: application/json' -d '{body}'"
    )


def _now_us() -> int:
    return time.time_ns() // 1000


def _request_ids() -> Callable[[], str]:
    """Ids that no two processes share: 64 random bits for this one, and a count.  They are names, not secrets."""
    prefix = f"req_{secrets.token_hex(8)}"
    count = itertools.count(1)
    return lambda: f"{prefix}{next(count):08x}"
