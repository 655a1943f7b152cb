"""Which providers and models there are just now: configured, found, or the small local one if there are no others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import httpx
import structlog

from ledger.ports import PricingPort
from providers.local import LocalModel, LocalModelError
from providers.openai.vendors import CUSTOMS, VENDORS
from providers.provider import Traits
from proxy.config import Config
from proxy.deployments import upstreams
from proxy.deployments.discovery import NATIVE, Found, Listing, discover, list_models
from proxy.deployments.models import ModelTable, Narrow, Provider, as_it_is

FIRST_LOOK_S = 0.7
LOOK_S = 10.0
REFRESH_S = 600.0
WATCH_S = 2.0
LOCAL = "local"

Names = Callable[[str], Sequence[str]]

log = structlog.get_logger("tollway.catalogue")


class Catalogue:
    """Keeps the table of models.  ``table`` is immutable and is replaced as a whole.

    names: a vendor's models by the price list's name for it, for when the vendor cannot be asked.
    narrowed: what of its endpoints an account serves a model at.
    own_url: where this gateway listens, so that it is never taken for a provider.
    signers: what opens the accounts that no key does.
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        client: httpx.AsyncClient,
        *,
        prices: PricingPort,
        names: Names,
        narrowed: Narrow = as_it_is,
        own_url: str,
        signers: upstreams.Signers = upstreams.nobody,
    ) -> None:
        self._config = config
        self._environ = environ
        self._client = client
        self._prices = prices
        self._names = names
        self._narrowed = narrowed
        self._signers = signers
        self._own_urls = frozenset((own_url,))
        self._problems: dict[str, str] = {}
        self._origins: dict[str, str] = {}
        self._local: LocalModel | None = None
        self._listed = asyncio.Event()
        self.table = ModelTable(())

    async def start(self) -> None:
        """Find out what can be served, in about a second at most; what takes longer is found while serving."""
        if self._config.providers:
            self._publish(upstreams.configured(self._config, self._signers))
            if all(provider.models for provider in self._config.providers.values()):
                self._listed.set()
            return
        await self._discover(FIRST_LOOK_S)
        self._listed.set()
        if not self.table.providers():
            await self._start_local()

    async def stop(self) -> None:
        """Let go of the local model."""
        if self._local is not None:
            await asyncio.to_thread(self._local.stop)

    async def keep_fresh(self) -> None:
        """Ask the providers for their models now and then, and keep the local model alive, until cancelled."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            if self._local is not None:
                if not self._local.is_running:
                    await self._restart(self._local)
            elif loop.time() >= due_s:
                due_s = loop.time() + REFRESH_S
                await (self._list_configured() if self._config.providers else self._discover(LOOK_S))
                self._listed.set()
            await asyncio.sleep(WATCH_S)

    async def listed(self, timeout_s: float) -> bool:
        """Wait until every provider has been asked once; ``False`` if that took too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._listed.wait()
        except TimeoutError:
            return False
        return True

    def describe(self) -> list[str]:
        """What was found, a line each for the providers and for their models."""
        lines = []
        for provider in self.table.providers():
            origin = self._origins.get(provider.name, "")
            problem = self._problems.get(provider.name, "")
            counted = f"{len(provider.models)} models" if len(provider.models) != 1 else "1 model"
            if provider.origin == "catalogue":
                counted = f"{counted} by the price list"
            notes = "; ".join(filter(None, (origin, counted, problem)))
            lines.append(f"provider: {provider.name} ({notes})")
        names = [model.id for model in self.table.models()]
        shown = ", ".join(names[:6]) + (f", … {len(names)} in all" if len(names) > 6 else "")
        lines.append(f"models: {shown or 'none known yet; any provider/model can be asked for'}")
        return lines

    def traits(self, provider: str, model: str) -> Traits | None:
        """What a provider says just now of a model that it runs itself; ``None``: nothing."""
        return self.table.traits(provider, model)

    def example(self) -> str:
        """A model to try first: one of the operator's own, else the cheapest whose price is known."""
        for name in self._config.models:
            return name
        offers = [
            (self._dearness(provider, model), f"{provider.name}/{model}")
            for provider in self.table.providers()
            for model in provider.models
        ]
        return min(offers, default=(0, "provider/model"))[1]

    def _dearness(self, provider: Provider, model: str) -> int:
        price = self._prices.price(provider.name, model)
        # A price of 0 for output is an embedding's, or nobody's: not what one wants to chat with.
        if price is None or not price.output_nusd_per_mtok:
            return 10**18
        return price.input_nusd_per_mtok + price.output_nusd_per_mtok

    async def _discover(self, timeout_s: float) -> None:
        listings = await discover(self._environ, self._client, probe_timeout_s=timeout_s, own_urls=self._own_urls)
        providers = []
        for listing in listings:
            found = listing.found
            vendor = VENDORS[found.vendor]
            if vendor.needs_key and found.api_key is None:
                log.warning("provider_ignored", provider=found.vendor, reason=listing.problem)
                continue
            self._note(found.vendor, found.origin, listing)
            models, origin = listing.models, "listed"
            # What is deployed in a resource of Azure's nothing tells: it can be asked for by its name.
            if not models and vendor.prices and vendor.protocol != "azure":
                models, origin = tuple(self._names(vendor.prices)), "catalogue"
            providers.append(
                upstreams.found(
                    found.vendor,
                    base_url=found.base_url,
                    api_key=found.api_key,
                    models=models,
                    origin="listed" if origin == "listed" else "catalogue",
                    api_version=found.api_version,
                    signer=self._signers(vendor, found.identity) if found.api_key is None else None,
                    traits=listing.traits,
                )
            )
        if providers:
            self._publish(providers)

    async def _list_configured(self) -> None:
        """Ask the configured providers whose models the configuration does not name, and those that say what theirs can."""
        providers = upstreams.configured(self._config, self._signers)
        asked = [it for it in providers if not it.models or it.accounts[0][0].vendor.name in NATIVE]
        async with asyncio.TaskGroup() as group:
            tasks = {provider.name: group.create_task(self._list(provider)) for provider in asked}
        listings = {name: task.result() for name, task in tasks.items()}
        self._publish(
            [
                upstreams.with_listing(it, listing.models, self._names, listing.traits) if listing is not None else it
                for it in providers
                for listing in (listings.get(it.name),)
            ]
        )

    async def _list(self, provider: Provider) -> Listing:
        upstream = provider.accounts[0][0]
        vendor = upstream.vendor
        found = Found(
            vendor=provider.name if vendor.name in {it.name for it in CUSTOMS.values()} else vendor.name,
            base_url=upstream.base_url,
            api_key=upstream.api_key,
            origin="configuration",
            protocol=vendor.protocol,
            models_path=vendor.models_path,
        )
        listing = await list_models(self._client, found, LOOK_S)
        self._note(provider.name, "", listing)
        return listing

    def _note(self, provider: str, origin: str, listing: Listing) -> None:
        self._origins[provider] = origin
        self._problems[provider] = "; ".join(filter(None, (listing.problem, listing.note)))

    async def _start_local(self) -> None:
        model = LocalModel()
        try:
            base_url = await asyncio.to_thread(model.start)
        except LocalModelError as error:
            log.warning("local_model_unavailable", reason=str(error))
            return
        self._local = model
        self._origins[LOCAL] = "no other provider was found: a small model on this machine"
        self._publish(
            [
                upstreams.found(
                    LOCAL, base_url=base_url, api_key=model.api_key, models=("smollm2",), origin="listed", closed=True
                )
            ]
        )

    async def _restart(self, model: LocalModel) -> None:
        try:
            await asyncio.to_thread(model.start)
        except LocalModelError as error:
            log.warning("local_model_unavailable", reason=str(error))
        else:
            log.warning("local_model_restarted")

    def _publish(self, providers: list[Provider]) -> None:
        self.table = ModelTable(
            providers, models=upstreams.named(self._config), aliases=self._config.aliases, narrowed=self._narrowed
        )
