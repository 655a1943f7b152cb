"""From what is configured, or found, to providers that can be sent to.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ledger.records import Bounds
from providers.openai.vendors import VENDORS, vendor_of
from providers.provider import Identity, Signer, Timeouts, Upstream, Vendor
from proxy.config import AccountConfig, Config, ProviderConfig
from proxy.models import Named, Origin, Provider, Target

Signers = Callable[[Vendor, Identity], Signer | None]
"""What opens an account without a key; the same for the same."""


def nobody(vendor: Vendor, identity: Identity) -> None:
    """Signs for none."""
    del vendor, identity


def configured(config: Config, signers: Signers = nobody) -> list[Provider]:
    """The providers of the configuration, with the models it names."""
    return [_provider(name, provider, signers) for name, provider in config.providers.items()]


def found(
    vendor: str, *, base_url: str, api_key: str | None, models: tuple[str, ...], origin: Origin, closed: bool = False
) -> Provider:
    """A provider that was found rather than configured.  closed: it serves these models and can have no others."""
    upstream = Upstream(
        provider=vendor, account="default", vendor=VENDORS[vendor], base_url=base_url.rstrip("/"), api_key=api_key
    )
    return Provider(name=vendor, accounts=((upstream, 1),), models=models, origin=origin, closed=closed)


def with_listing(provider: Provider, listed: Sequence[str] | None, names: Callable[[str], Sequence[str]]) -> Provider:
    """The provider with the models that it listed; with those the price list has (``names``) if it listed none.

    listed: ``None`` if it was not asked.
    """
    if listed is None:
        return provider
    if listed:
        return replace(provider, models=tuple(listed), origin="listed")
    prices = provider.accounts[0][0].vendor.prices
    return replace(provider, models=tuple(names(prices)), origin="catalogue") if prices else provider


def named(config: Config) -> dict[str, Named]:
    """The models of the operator's own naming."""
    return {
        name: Named(
            targets=tuple(Target(target.model, target.weight, target.priority) for target in model.targets),
            fallbacks=model.fallbacks,
            detours=(
                *(("context", name) for name in model.context_fallbacks),
                *(("content_policy", name) for name in model.content_policy_fallbacks),
            ),
            strategy=model.load_balancer,
            timeouts=tuple(
                (name, seconds)
                for name, seconds in (
                    ("first_byte_s", model.first_byte_timeout_s),
                    ("idle_s", model.idle_timeout_s),
                    ("total_s", model.total_timeout_s),
                )
                if seconds is not None
            ),
        )
        for name, model in config.models.items()
    }


def narrowed(bounds: Callable[[str, str], Bounds]) -> Callable[[Upstream, str], Upstream]:
    """An account as it is for one model: OpenAI serves some by its Responses API alone.  bounds: what a list says of models."""

    def narrow(upstream: Upstream, model: str) -> Upstream:
        vendor = upstream.vendor
        if "responses" not in vendor.endpoints or not bounds(upstream.provider, model).responses_only:
            return upstream
        return replace(upstream, vendor=replace(vendor, endpoints=vendor.endpoints - {"chat/completions"}))

    return narrow


def daily_caps_nusd(config: Config) -> dict[tuple[str, str], int]:
    """What an account may spend in a day, by provider and account, where it may not spend what it likes."""
    return {
        (name, account.name): round(account.usd_per_day * 1_000_000_000)
        for name, provider in config.providers.items()
        for account in provider.named_accounts()
        if account.usd_per_day is not None
    }


def _base_url(vendor: Vendor, account: AccountConfig, api_version: str) -> str:
    """Where an account is: as configured, or the vendor's place in its region."""
    if vendor.protocol in ("vertex", "vertex-anthropic"):
        return _place(vendor, account)
    url = (account.base_url or vendor.base_url.replace("{region}", account.region)).rstrip("/")
    if vendor.protocol != "azure":
        return url
    # People copy the resource's address from the portal, or the whole of it from an example.
    resource = url.removesuffix("/v1").removesuffix("/openai")
    return f"{resource}/openai" if api_version else f"{resource}/openai/v1"


def _place(vendor: Vendor, account: AccountConfig) -> str:
    """A publisher's models in a project of Vertex AI.  The configured address stands for the host alone."""
    region = account.region or "global"
    host, path = vendor.base_url.split("/v1", 1)
    # Source: cloud.google.com/vertex-ai/generative-ai/docs/learn/locations, the global endpoint, read 2026-11.
    host = account.base_url or host.replace("{region}-", "" if region == "global" else f"{region}-")
    return f"{host}/v1{path}".replace("{region}", region).replace("{project}", account.project)


def _identity(account: AccountConfig) -> Identity:
    return Identity(region=account.region, profile=account.profile, credentials_file=account.credentials_file)


def _provider(name: str, config: ProviderConfig, signers: Signers) -> Provider:
    vendor = vendor_of(name, config.type, config.named_accounts()[0].base_url)
    if config.endpoints:
        vendor = replace(vendor, endpoints=frozenset(config.endpoints))
    if config.files is not None:
        vendor = replace(vendor, files=config.files)
    timeouts = Timeouts(
        connect_s=config.connect_timeout_s,
        first_byte_s=config.first_byte_timeout_s,
        idle_s=config.idle_timeout_s,
        total_s=config.total_timeout_s,
    )
    accounts = tuple(
        (
            Upstream(
                provider=name,
                account=account.name,
                vendor=vendor,
                base_url=_base_url(vendor, account, config.api_version),
                api_version=config.api_version,
                api_key=account.api_key.get_secret_value() if account.api_key is not None else None,
                signer=signers(vendor, _identity(account)) if account.api_key is None else None,
                timeouts=timeouts,
            ),
            account.weight,
        )
        for account in config.named_accounts()
    )
    return Provider(name=name, accounts=accounts, models=config.models, closed=bool(config.models), origin="configured")
