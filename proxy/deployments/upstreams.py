"""From what is configured, or found, to providers that can be sent to.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from ledger.records import Bounds
from providers.openai.vendors import VENDORS, vendor_of
from providers.provider import Identity, Litellm, Signer, Timeouts, Traits, Upstream, Vendor
from proxy.config import AccountConfig, Config, ProviderConfig
from proxy.deployments.clouds import azure_url, vertex_url
from proxy.deployments.models import Named, Origin, Provider, Target

Signers = Callable[[Vendor, Identity], Signer | None]
"""What opens an account without a key; the same for the same."""


NONE: Mapping[str, Traits] = {}


def nobody(vendor: Vendor, identity: Identity) -> None:
    """Signs for none."""
    del vendor, identity


def configured(config: Config, signers: Signers = nobody) -> list[Provider]:
    """The providers of the configuration, with the models it names."""
    return [_provider(name, provider, signers) for name, provider in config.providers.items()]


def found(
    vendor: str,
    *,
    base_url: str,
    api_key: str | None,
    models: tuple[str, ...],
    origin: Origin,
    closed: bool = False,
    api_version: str = "",
    signer: Signer | None = None,
    traits: Mapping[str, Traits] = NONE,
) -> Provider:
    """A provider that was found rather than configured.  closed: it serves these models and can have no others."""
    upstream = Upstream(
        provider=vendor,
        account="default",
        vendor=VENDORS[vendor],
        base_url=base_url.rstrip("/"),
        api_key=api_key,
        api_version=api_version,
        signer=signer,
    )
    return Provider(name=vendor, accounts=((upstream, 1),), models=models, origin=origin, closed=closed, traits=traits)


def with_listing(
    provider: Provider,
    listed: Sequence[str] | None,
    names: Callable[[str], Sequence[str]],
    traits: Mapping[str, Traits] = NONE,
) -> Provider:
    """The provider with the models that it listed; with those the price list has (``names``) if it listed none.

    listed: ``None`` if it was not asked.  traits: what it says of them.
    """
    provider = replace(provider, traits=traits) if traits else provider
    if listed is None or provider.closed:
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
        return vertex_url(vendor, account.project, account.region, account.base_url)
    if vendor.protocol == "litellm":
        return vendor.base_url
    url = (account.base_url or vendor.base_url.replace("{region}", account.region)).rstrip("/")
    return azure_url(url, api_version) if vendor.protocol == "azure" else url


def _identity(name: str, config: ProviderConfig, vendor: Vendor, account: AccountConfig) -> Identity:
    if vendor.protocol == "litellm":
        return Identity(litellm=_litellm(name, config, account))
    return Identity(region=account.region, profile=account.profile, credentials_file=account.credentials_file)


def _litellm(name: str, config: ProviderConfig, account: AccountConfig) -> Litellm:
    return Litellm(
        provider=config.litellm_provider or name,
        # The gateway's own deadline comes first.
        timeout_s=config.total_timeout_s + 5,
        api_key=account.api_key.get_secret_value() if account.api_key is not None else "",
        base_url=account.base_url,
        settings=(
            *sorted(config.litellm_settings.items()),
            *sorted((key, value.get_secret_value()) for key, value in config.litellm_secrets.items()),
        ),
    )


def _key(vendor: Vendor, account: AccountConfig) -> str | None:
    """What is sent to the upstream itself; litellm's child is told the account's before."""
    return None if account.api_key is None or vendor.protocol == "litellm" else account.api_key.get_secret_value()


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
                api_key=key,
                signer=signers(vendor, _identity(name, config, vendor, account)) if key is None else None,
                timeouts=timeouts,
            ),
            account.weight,
        )
        for account in config.named_accounts()
        for key in (_key(vendor, account),)
    )
    return Provider(name=name, accounts=accounts, models=config.models, closed=bool(config.models), origin="configured")
