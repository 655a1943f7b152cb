"""What must hold between settings, and what a type cannot say about one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr

from ledger.catalogue.metrics import METRICS
from ledger.prices.days import day_us
from ledger.prices.pieces import pixels
from providers.bedrock.models import is_region
from providers.litellm_names import known
from providers.openai.vendors import CUSTOM, CUSTOMS, VENDORS
from providers.provider import Vendor
from proxy.config import grants, names
from proxy.config.ledger import SQLITE, ContextTierConfig
from proxy.config.owners import KeyConfig, TeamConfig, UserConfig
from proxy.config.problems import closest, did_you_mean, one_of
from proxy.config.providers import ModelConfig, ProviderConfig
from proxy.config.secrets import MIN_KEY_BITS, is_published, key_bits
from proxy.config.settings import Config
from proxy.config.shape import Path
from proxy.routing.kinds import KINDS, POLICY_NAMES

PROTOCOLS = ("openai", "anthropic", "gemini", "bedrock", "cohere", "azure", "vertex", "vertex-anthropic", "litellm")
NOT_SERVED = ("copilot", "google", "kiro")
LOCAL = "local"  # has no address: Tollway starts it by itself, where it finds nothing else
KNOWN = tuple(name for name, vendor in VENDORS.items() if vendor.base_url)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_MODEL_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,256}")
_VERTEX = frozenset({"vertex", "vertex-anthropic"})
_OWNERS: Mapping[str, frozenset[str]] = {
    "region": _VERTEX | {"bedrock"},
    "profile": frozenset({"bedrock"}),
    "project": _VERTEX,
    "credentials_file": _VERTEX,
}
_OWNED = {_VERTEX | {"bedrock"}: "Bedrock or Vertex AI", frozenset({"bedrock"}): "Bedrock", _VERTEX: "Vertex AI"}
_LITELLM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
# What the bridge says itself, and what would have litellm do more than one request.
_LITELLM_OWN = frozenset((
    "api_base", "api_key", "base_url", "cache", "caching", "callbacks", "context_window_fallback_dict", "failure_callback",
    "fallbacks", "input", "logger_fn", "max_retries", "messages", "mock_response", "model", "model_list", "num_retries",
    "stream", "stream_options", "success_callback", "timeout",
))  # fmt: skip
_PROJECT = re.compile(r"[a-z0-9.:-]{4,64}", re.ASCII)
_LOCATION = re.compile(r"global|[a-z]+-[a-z]+[0-9]{1,2}", re.ASCII)
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-[a-z]+)?", re.ASCII)
_POLICY_NAME = re.compile(r"auto(:[A-Za-z0-9][A-Za-z0-9_-]{0,63})?")
_DISCONNECT = re.compile(r"cancel|drain(:\d{1,9})?", re.ASCII)
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?"
)


class Finding(msgspec.Struct, frozen=True):
    """One thing that does not hold.

    missing: the keys that are not there; an error in one of them, or an unknown key beside them, would explain it.
    at_key: the key is wrong, not its value.
    names: the section in which a name was looked up in vain, which an error in that section would explain.
    """

    path: Path
    what: str
    missing: tuple[str, ...] = ()
    at_key: bool = False
    names: str = ""


def findings(config: Config) -> Iterator[Finding]:
    """Everything that does not hold in ``config``."""
    yield from _server(config)
    for name, provider in config.providers.items():
        yield from _provider(name, provider)
    yield from _models(config)
    yield from _aliases(config)
    yield from _policies(config)
    yield from _keys(config)
    yield from _owners(config)
    yield from _budgets(config)
    yield from _limits(config)
    yield from _cache(config)
    yield from _ledger(config)
    yield from _prices(config)
    yield from _subscriptions(config)
    yield from _refresh(config)


def _server(config: Config) -> Iterator[Finding]:
    if not _is_host(config.server.host):
        yield Finding(("server", "host"), "must be an IP address or a host name")
    for index, host in enumerate(config.server.hosts):
        if not _is_host(host):
            yield Finding(("server", "hosts", index), "must be an IP address or a host name, without a port")


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


# --- providers -------------------------------------------------------------------------------------------------------


def _provider(name: str, provider: ProviderConfig) -> Iterator[Finding]:
    path: Path = ("providers", name)
    if not _NAME.fullmatch(name) or "@" in name:
        yield Finding(path, "a provider's name is made of letters, digits, '.', '_' and '-'; at most 64", at_key=True)
        return
    if name == LOCAL:
        yield Finding(path, "Tollway starts this one by itself where it finds no other; take another name", at_key=True)
        return
    yield from _identity(path, name, provider)
    yield from _texts((*path, "models"), provider.models, _MODEL_NAME, "must be a model's name, without spaces")
    yield from _url((*path, "base_url"), provider.base_url)
    yield from _accounts(path, name, provider)
    yield from _region(path, name, provider)
    yield from _azure(path, name, provider)
    yield from _litellm(path, name, provider)


def _vendor(name: str, provider: ProviderConfig) -> Vendor:
    """What its name or its type says that it is."""
    own = VENDORS.get(name)
    if provider.type and (own is None or own.protocol != provider.type):
        return CUSTOMS[provider.type]
    return own or CUSTOM


def _region(path: Path, name: str, provider: ProviderConfig) -> Iterator[Finding]:
    """Bedrock is in regions, Vertex AI in projects, and who is where is opened by more than a key."""
    protocol = _vendor(name, provider).protocol
    for field, owners in _OWNERS.items():
        if protocol not in owners and any(getattr(it, field) for it in (provider, *provider.accounts)):
            yield Finding((*path, field), f"only {_OWNED[owners]} has one", at_key=True)
    needed = {"bedrock": "region", "vertex": "project", "vertex-anthropic": "project"}.get(protocol, "")
    for index, account in enumerate(provider.named_accounts()):
        here: Path = (*path, "accounts", index) if provider.accounts else path
        if needed and not getattr(account, needed):
            example = "such as us-east-1" if needed == "region" else "such as my-project"
            yield Finding(here, f"needs a {needed}, {example}", missing=(needed,))
        if account.region and protocol in _OWNERS["region"] and not _is_region(account.region, protocol):
            yield Finding((*here, "region"), "must be the name of a region, such as us-east-1")
        if account.project and protocol in _OWNERS["project"] and not _PROJECT.fullmatch(account.project):
            yield Finding((*here, "project"), "must be the id of a project, such as my-project-123")
        if account.api_key and protocol == "bedrock" and account.profile:
            yield Finding((*here, "profile"), "either 'api_key' or 'profile', not both", at_key=True)


def _is_region(text: str, protocol: str) -> bool:
    """Google's have no number of their own behind a dash."""
    return is_region(text) if protocol == "bedrock" else _LOCATION.fullmatch(text) is not None


def _azure(path: Path, name: str, provider: ProviderConfig) -> Iterator[Finding]:
    """Azure's models are deployments in a resource of one's own; nobody else has versions."""
    if _vendor(name, provider).protocol != "azure":
        if provider.api_version:
            yield Finding((*path, "api_version"), "only Azure has one", at_key=True)
        return
    if not all(account.base_url for account in provider.named_accounts()):
        yield Finding(path, "needs a base_url, such as https://RESOURCE.openai.azure.com", missing=("base_url",))
    if not provider.models:
        yield Finding(path, "needs models: the names of your deployments", missing=("models",))
    if provider.api_version and not _VERSION.fullmatch(provider.api_version):
        yield Finding((*path, "api_version"), "must be an API version, such as 2024-10-21 or 2025-04-01-preview")


def _litellm(path: Path, name: str, provider: ProviderConfig) -> Iterator[Finding]:
    """What litellm is told of a provider, and by which names its models may be asked for: some lead elsewhere."""
    if _vendor(name, provider).protocol != "litellm":
        for field in ("litellm_provider", "litellm_settings", "litellm_secrets"):
            if getattr(provider, field):
                yield Finding((*path, field), "only a provider of 'type: litellm' has one", at_key=True)
        return
    if not provider.models:
        yield Finding(path, "needs models: litellm lists none", missing=("models",))
    if provider.litellm_provider and not _LITELLM_NAME.fullmatch(provider.litellm_provider):
        yield Finding((*path, "litellm_provider"), "must be made of letters, digits, '_' and '-'")
    elif (spoken := known()) and (asked := provider.litellm_provider or name) not in spoken:
        problem = f"litellm knows no provider '{asked}'{did_you_mean(asked, spoken)}"
        if provider.litellm_provider:
            yield Finding((*path, "litellm_provider"), problem)
        else:
            yield Finding(path, f"{problem}; litellm_provider says what litellm calls it", missing=("litellm_provider",))
    for field in ("litellm_settings", "litellm_secrets"):
        for setting in getattr(provider, field):
            if setting in _LITELLM_OWN or not _LITELLM_NAME.fullmatch(setting):
                yield Finding((*path, field, setting), "nothing that litellm is told here", at_key=True)


def _identity(path: Path, name: str, provider: ProviderConfig) -> Iterator[Finding]:
    known_by_type = provider.type is not None and bool(CUSTOMS[provider.type].base_url)
    addressed = known_by_type or all(account.base_url for account in provider.named_accounts())
    if name in KNOWN or (provider.type and addressed):
        return
    if provider.type:
        yield Finding(path, "needs a base_url, such as http://127.0.0.1:8000/v1", missing=("base_url",))
    elif name in NOT_SERVED:
        yield Finding(path, f"'{name}' is not served yet; the types there are: {', '.join(PROTOCOLS)}", at_key=True)
    elif addressed:
        yield Finding(path, "needs 'type: openai', the protocol that it speaks", missing=("type",))
    elif closest(name, KNOWN):
        yield Finding(path, "not a known provider" + did_you_mean(name, KNOWN), at_key=True)
    else:
        what = f"not a known provider, so it needs 'type: openai' and a base_url; known: {', '.join(sorted(KNOWN))}"
        yield Finding(path, what, missing=("type", "base_url"))


def _accounts(path: Path, name: str, provider: ProviderConfig) -> Iterator[Finding]:
    vendor = VENDORS.get(name) or _vendor(name, provider)
    needs_key = vendor.needs_key
    if provider.api_key and provider.accounts:
        yield Finding((*path, "accounts"), "either 'api_key' or 'accounts', not both", at_key=True)
    elif needs_key and not provider.api_key and not provider.accounts:
        hint = f", such as env:{vendor.key_names[0]}"
        yield Finding(path, f"needs an api_key{hint}", missing=("api_key", "accounts"))
    names = [account.name for account in provider.named_accounts()]
    for index, account in enumerate(provider.accounts):
        here: Path = (*path, "accounts", index)
        if needs_key and not account.api_key:
            yield Finding(here, "needs an api_key", missing=("api_key",))
        if account.name and not _NAME.fullmatch(account.name):
            yield Finding((*here, "name"), "must be made of letters, digits, '.', '_', '@' and '-'; at most 64")
        elif names[index] in names[:index]:
            yield Finding((*here, "name"), f"another account is called '{names[index]}' too")
        yield from _url((*here, "base_url"), account.base_url)


def _url(path: Path, text: str) -> Iterator[Finding]:
    """``text`` is a plain http address, or empty.  It is not repeated: it may hold a password."""
    if not text:
        return
    example = "such as https://llm.example.com/v1"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        yield Finding(path, f"must be a URL, {example}")
        return
    if url.scheme not in ("http", "https") or not url.hostname or not _is_host(url.hostname) or port == 0:
        yield Finding(path, f"must be an http or https URL, {example}")
    elif "@" in url.netloc:
        yield Finding(path, "must not hold a user name or password; put the credential into api_key")
    elif "?" in text or "#" in text:
        yield Finding(path, "must not hold a '?' or '#'")
    elif not re.fullmatch(r"[\x21-\x7e]+", text):
        yield Finding(path, "must be visible ASCII characters without spaces")


# --- models and aliases ----------------------------------------------------------------------------------------------


def _models(config: Config) -> Iterator[Finding]:
    for name, model in config.models.items():
        path: Path = ("models", name)
        yield from _own_name(path, name, config)
        if not model.targets:
            yield Finding(path, "needs at least one target, such as 'targets: [openai/gpt-5]'", missing=("targets",))
        for index, target in enumerate(model.targets):
            here: Path = (*path, "targets", index, "model")
            if target.model and target.model in [other.model for other in model.targets[:index]]:
                yield Finding(here, "listed twice; a 'weight' gives one target more requests")
            else:
                yield from _target(here, target.model, config)
        for chain in ("fallbacks", "context_fallbacks", "content_policy_fallbacks"):
            names = getattr(model, chain)
            for index, fallback in enumerate(names):
                if fallback in names[:index]:
                    yield Finding((*path, chain, index), "listed twice")
                elif fallback not in config.models:
                    yield from _model_or_target((*path, chain, index), fallback, config, known=list(config.models))
    yield from _cycles(config.models)


def _own_name(path: Path, name: str, config: Config) -> Iterator[Finding]:
    if not _MODEL_NAME.fullmatch(name):
        yield Finding(path, "a model's name has no spaces and 1 to 256 characters", at_key=True)
    elif name == "auto" or name.startswith("auto:"):
        yield Finding(path, "'auto' is what Tollway chooses by itself; take another name", at_key=True)
    elif name.partition("/")[0] in _providers(config) and "/" in name:
        yield Finding(path, f"begins like a model of the provider '{name.partition('/')[0]}'; take another name", at_key=True)


def _providers(config: Config) -> Mapping[str, object]:
    """Those that a target may name: the configured ones, or every vendor where they are found by themselves."""
    return config.providers or VENDORS


def _target(path: Path, text: str, config: Config) -> Iterator[Finding]:
    """``text`` is provider/model, and that provider may serve it."""
    name, slash, model = text.partition("/")
    providers = _providers(config)
    if not slash or not name or not model or not _MODEL_NAME.fullmatch(text):
        yield Finding(
            path,
            "must be 'provider/model', such as openai/gpt-5" + did_you_mean(text, _listed(config)),
            names="providers",
        )
    elif name not in providers:
        if name in KNOWN:
            what = f"provider '{name}' is not under 'providers'"
        elif name in NOT_SERVED:
            what = f"'{name}' is not served yet; the types there are: {', '.join(PROTOCOLS)}"
        else:
            what = f"no provider is called '{name}'" + one_of(name, providers, "there are")
        yield Finding(path, what, names="providers")
    elif name in config.providers and (served := config.providers[name].models) and model not in served:
        yield Finding(path, f"'{name}' does not list this model" + one_of(model, served, "it lists"))


def _listed(config: Config) -> list[str]:
    return [f"{name}/{model}" for name, provider in config.providers.items() for model in provider.models]


def _model_or_target(path: Path, text: str, config: Config, *, known: Sequence[str]) -> Iterator[Finding]:
    if "/" in text:
        yield from _target(path, text, config)
    elif text in config.aliases:
        yield Finding(path, "an alias; name the model it stands for")
    else:
        what = "no model is called so" + (one_of(text, known, "there are") if known else "; or write provider/model")
        yield Finding(path, what, names="models")


def _aliases(config: Config) -> Iterator[Finding]:
    for alias, meant in config.aliases.items():
        path: Path = ("aliases", alias)
        if alias in config.models:
            yield Finding(path, "a model is called so too", at_key=True)
            continue
        yield from _own_name(path, alias, config)
        known = [name for name in (*config.models, *config.aliases) if name != alias]
        if meant not in config.models and meant not in config.aliases and not _is_policy(meant, config):
            yield from _model_or_target(path, meant, config, known=known)
    links = {alias: (meant,) for alias, meant in config.aliases.items()}
    for loop in _loops(links):
        yield Finding(("aliases", loop[-2]), f"goes round in a circle: {' -> '.join(loop)}")


# --- policies --------------------------------------------------------------------------------------------------------


def _policies(config: Config) -> Iterator[Finding]:
    for name, policy in config.policies.items():
        path: Path = ("policies", name)
        if not _POLICY_NAME.fullmatch(name):
            yield Finding(path, "a policy is called 'auto', or 'auto:' and letters, digits, '_' and '-'", at_key=True)
        if policy.task and policy.task not in KINDS:
            yield Finding((*path, "task"), "no kind of task is called so" + one_of(policy.task, KINDS, "there are"))
        for field in ("allow", "deny"):
            yield from _texts((*path, field), getattr(policy, field), grants.MODEL_PATTERN, grants.A_MODEL_PATTERN)
        for field in ("default", "fallback"):
            text = getattr(policy, field)
            if text and text not in config.models:
                yield from _model_or_target((*path, field), text, config, known=list(config.models))
    for kind, tokens in config.routing.output_tokens.items():
        path = ("routing", "output_tokens", kind)
        if kind not in KINDS:
            yield Finding(path, "no kind of task is called so" + one_of(kind, KINDS, "there are"), at_key=True)
        elif not 0 < tokens <= 1_000_000:
            yield Finding(path, "must be a number of tokens from 1 to 1,000,000")


def _is_policy(name: str, config: Config) -> bool:
    return name in POLICY_NAMES or name in config.policies


def _cycles(models: Mapping[str, ModelConfig]) -> Iterator[Finding]:
    links = {name: tuple(model.fallbacks) for name, model in models.items()}
    for loop in _loops(links):
        index = models[loop[-2]].fallbacks.index(loop[-1])
        yield Finding(("models", loop[-2], "fallbacks", index), f"goes round in a circle: {' -> '.join(loop)}")


def _loops(links: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """The circles that a walk along ``links`` meets, as ``(a, b, a)``; a link closes at most one."""
    done: set[str] = set()
    for start in links:
        trail: list[str] = []
        walks = [iter((start,))]
        while walks:
            step = next(walks[-1], None)
            if step is None:
                walks.pop()
                if trail:
                    done.add(trail.pop())
            elif step in trail:
                yield (*trail[trail.index(step) :], step)
            elif step in links and step not in done:
                trail.append(step)
                walks.append(iter(links[step]))


# --- keys, users, teams, ledger -------------------------------------------------------------------------------------


def _keys(config: Config) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, declared in config.keys.items():
        path: Path = ("keys", name)
        if not _NAME.fullmatch(name):
            yield Finding(path, "a key's name is made of letters, digits, '.', '_', '@' and '-'; at most 64", at_key=True)
        elif names.key_fault(name) or name == "TOLLWAY_API_KEY":
            yield Finding(path, "this is what another key is known by; take another name", at_key=True)
        yield from _grants(path, declared)
        yield from _belongs((*path, "user"), declared.user, "user", config.users)
        yield from _belongs((*path, "team"), declared.team, "team", config.teams)
        if declared.key is None:
            yield Finding(path, "needs a key, such as 'key: env:NAME'", missing=("key",))
            continue
        here: Path = (*path, "key")
        for weakness in key_faults(declared.key):
            yield Finding(here, weakness)
        first = seen.setdefault(declared.key.get_secret_value(), name)
        if first != name:
            yield Finding(here, f"the same key as '{first}'")


def _owners(config: Config) -> Iterator[Finding]:
    for section, what, owners in (("users", "user", config.users), ("teams", "team", config.teams)):
        seen: dict[str, str] = {}
        for name, declared in owners.items():
            path: Path = (section, name)
            if names.clean(name) != name or names.owner_fault(name, what):
                fault = f"a {what}'s name is made of letters, digits, '.', '_', '@', '+' and '-'; at most 64"
                yield Finding(path, fault, at_key=True)
            first = seen.setdefault(names.fold(name), name)
            if first != name:
                yield Finding(path, f"the same name as '{first}'", at_key=True)
            yield from _grants(path, declared)
            if isinstance(declared, UserConfig):
                yield from _belongs((*path, "team"), declared.team, "team", config.teams)


def _grants(path: Path, declared: TeamConfig) -> Iterator[Finding]:
    yield from _texts((*path, "models"), declared.models, grants.MODEL_PATTERN, grants.A_MODEL_PATTERN)
    given: dict[str, Any] = {"metadata": grants.metadata_text(declared.metadata)}
    if isinstance(declared, KeyConfig):
        given |= {"endpoints": declared.endpoints, "disconnect": declared.disconnect}
    for fault in grants.faults(**given):
        here: Path = (*path, fault.field) if fault.index is None else (*path, fault.field, fault.index)
        yield Finding(here, fault.what)


def _belongs(path: Path, name: str, what: str, owners: Mapping[str, object]) -> Iterator[Finding]:
    if name and name not in owners:
        yield Finding(path, f"no {what} is called so" + one_of(name, owners, "there are"), names=f"{what}s")


def key_faults(key: SecretStr) -> Iterator[str]:
    """Why ``key`` must not open the gateway, in sentences that do not show it; nothing if it may.

    ``TOLLWAY_API_KEY`` is held to it too.
    """
    bits = key_bits(key.get_secret_value())
    if is_published(key):
        yield "this key is printed in Tollway's documentation; make one with: openssl rand -hex 32"
    elif bits < MIN_KEY_BITS:
        yield f"too easy to guess: {bits} bits at most, {MIN_KEY_BITS} are needed; make one with: openssl rand -hex 32"


def _budgets(config: Config) -> Iterator[Finding]:
    for name, budget in config.budgets.items():
        path: Path = ("budgets", name)
        if not _NAME.fullmatch(name):
            yield Finding(path, "a budget's name is made of letters, digits, '.', '_', '@' and '-'; at most 64", at_key=True)
        if not _SCOPE.fullmatch(budget.scope):
            yield Finding((*path, "scope"), "must be key:ID, user:NAME, team:NAME or global")
        given = [unit for unit in _UNITS if getattr(budget, unit) is not None]
        if not given:
            yield Finding(path, "needs a limit: usd, tokens or requests", missing=_UNITS)
        for unit in given[1:]:
            yield Finding((*path, unit), f"either '{given[0]}' or '{unit}', not both; make two budgets of it", at_key=True)


_UNITS = ("usd", "tokens", "requests")
_SCOPE = re.compile(r"global|(?:key|user|team):[\x21-\x7e]{1,128}")


def _limits(config: Config) -> Iterator[Finding]:
    limits = config.limits
    for name in limits.models:
        path: Path = ("limits", "models", name)
        if name not in config.models:
            yield from _model_or_target(path, name, config, known=list(config.models))
    adaptive = limits.adaptive
    if adaptive.min_concurrent > adaptive.max_concurrent:
        yield Finding(("limits", "adaptive", "min_concurrent"), "must not be more than max_concurrent")


def _cache(config: Config) -> Iterator[Finding]:
    model = config.cache.semantic.model
    known = [*config.models, *config.aliases]
    if model and model not in known:
        yield from _model_or_target(("cache", "semantic", "model"), model, config, known=known)


def _ledger(config: Config) -> Iterator[Finding]:
    url = config.ledger.url
    name = url.removeprefix(SQLITE)
    if url and (
        not url.startswith(SQLITE) or not name or any(char in name for char in "?#\0") or name.endswith(("/", ":memory:"))
    ):
        yield Finding(("ledger", "url"), "must be 'sqlite:///path' and nothing else; only SQLite files are served yet")
    groups = {metric.group for metric in METRICS.values()}
    for name in config.ledger.priority_of:
        if name not in METRICS and name not in groups:
            known = one_of(name, (*groups, *METRICS))
            yield Finding(("ledger", "priority_of", name), f"no metric and no group of metrics is called '{name}'{known}")
    orders: list[tuple[Path, tuple[str, ...]]] = [(("priority",), config.ledger.priority)]
    orders += [(("priority_of", name, "order"), it.order) for name, it in config.ledger.priority_of.items()]
    for place, order in orders:
        for index, source in enumerate(order):
            if source in order[:index]:
                yield Finding(("ledger", *place, index), f"'{source}' is listed twice")


def _prices(config: Config) -> Iterator[Finding]:
    spans: dict[str, list[tuple[int, int]]] = {}
    for index, price in enumerate(config.ledger.prices):
        path: Path = ("ledger", "prices", index)
        provider, slash, model = price.model.partition("/")
        if not price.model:
            yield Finding(path, "needs a model, such as 'model: openai/gpt-5'", missing=("model",))
        elif not slash or not model or not _NAME.fullmatch(provider) or not _MODEL_NAME.fullmatch(price.model):
            yield Finding((*path, "model"), "must be 'provider/model', such as openai/gpt-5")
        elif config.providers and provider not in config.providers:
            yield Finding(
                (*path, "model"), f"no provider is called '{provider}'" + one_of(provider, config.providers), names="providers"
            )
        for key in () if price.is_filled else ("input_usd_per_mtok", "output_usd_per_mtok"):
            if getattr(price, key) is None:
                yield Finding(path, f"needs {key}; 0 is a price, too", missing=(key,))
        for number, picture in enumerate(price.images):
            if picture.image_usd is None:
                yield Finding((*path, "images", number), "needs image_usd; 0 is a price, too", missing=("image_usd",))
            if picture.size and pixels(picture.size) is None:
                yield Finding((*path, "images", number, "size"), "must be a width and a height, such as 1024x1536")
        yield from _tiers((*path, "context_tiers"), price.context_tiers)
        names = [tier.name for tier in price.service_tiers]
        for number, tier in enumerate(price.service_tiers):
            here: Path = (*path, "service_tiers", number)
            if not tier.name:
                yield Finding(here, "needs a name, such as 'name: batch'", missing=("name",))
            elif tier.name in names[:number]:
                yield Finding((*here, "name"), "listed twice")
            yield from _tiers((*here, "context_tiers"), tier.context_tiers)
        start, end, wrong = _span(path, price.effective_from, price.effective_to)
        yield from wrong
        if wrong:
            continue
        if any(start < other_end and other_start < end for other_start, other_end in spans.get(price.model, ())):
            yield Finding((*path, "model"), "another row has a price for this model on some of these days")
        else:
            spans.setdefault(price.model, []).append((start, end))


def _subscriptions(config: Config) -> Iterator[Finding]:
    names = [it.name for it in config.ledger.subscriptions]
    for index, fee in enumerate(config.ledger.subscriptions):
        path: Path = ("ledger", "subscriptions", index)
        if not fee.name:
            yield Finding(path, "needs a name", missing=("name",))
        elif fee.name in names[:index]:
            yield Finding((*path, "name"), "listed twice")
        if not fee.provider:
            yield Finding(path, "needs a provider, such as 'provider: anthropic'", missing=("provider",))
        elif config.providers and fee.provider not in config.providers:
            known = one_of(fee.provider, config.providers)
            yield Finding((*path, "provider"), f"no provider is called '{fee.provider}'{known}", names="providers")
        if fee.usd_per_month is None:
            yield Finding(path, "needs usd_per_month", missing=("usd_per_month",))
        yield from _texts((*path, "models"), fee.models, _MODEL_NAME, "must be a pattern of model names, such as gpt-5*")
        yield from _span(path, fee.effective_from, fee.effective_to)[2]


def _span(path: Path, since: str, until: str) -> tuple[int, int, list[Finding]]:
    """From when to when, and what is wrong with that."""
    start = day_us(since) if since else -_EVER_US
    end = day_us(until) if until else _EVER_US
    wrong = [
        Finding((*path, key), _A_DAY) for key, at_us in (("effective_from", start), ("effective_to", end)) if at_us is None
    ]
    if start is not None and end is not None and start >= end:
        wrong.append(Finding((*path, "effective_to"), "must be later than effective_from"))
    return start or 0, end or 0, wrong


# The sources of facts: proxy/facts/sources.py has a row for each.
SOURCES = ("openrouter", "openrouter_endpoints", "models_dev", "litellm", "lmarena", "artificial_analysis")


def _refresh(config: Config) -> Iterator[Finding]:
    for name, source in config.ledger.refresh.sources.items():
        path: Path = ("ledger", "refresh", "sources", name)
        if name not in SOURCES:
            yield Finding(path, "no source is called so" + one_of(name, SOURCES, "there are"), at_key=True)
            continue
        yield from _url((*path, "url"), source.url)
        if source.url.startswith("http://") and not _is_loopback(urlsplit(source.url).hostname or ""):
            yield Finding((*path, "url"), "must be https, unless it is on this machine")
        if source.models and name != "openrouter_endpoints":
            yield Finding((*path, "models"), "only 'openrouter_endpoints' is asked for models", at_key=True)
        if source.api_key and name != "artificial_analysis":
            yield Finding((*path, "api_key"), "only 'artificial_analysis' takes a key", at_key=True)
        yield from _texts((*path, "models"), source.models, _MODEL_NAME, "must be a model's name, such as openai/gpt-5")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_EVER_US = 2**62
_A_DAY = "must be a day, such as 2026-12-01"


def _tiers(path: Path, tiers: Sequence[ContextTierConfig]) -> Iterator[Finding]:
    above = [tier.above_tokens for tier in tiers]
    for index, tokens in enumerate(above):
        if tokens == 0:
            yield Finding((*path, index), "needs above_tokens, such as 200000", missing=("above_tokens",))
        elif tokens in above[:index]:
            yield Finding((*path, index, "above_tokens"), "listed twice")


def _texts(path: Path, texts: Sequence[str], pattern: re.Pattern[str], what: str) -> Iterator[Finding]:
    for index, text in enumerate(texts):
        if not pattern.fullmatch(text):
            yield Finding((*path, index), what)
        elif text in texts[:index]:
            yield Finding((*path, index), "listed twice")
