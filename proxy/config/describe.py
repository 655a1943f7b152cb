"""A configuration in a few lines for people: what ``tollway check`` prints.  Keys show as fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proxy.config.owners import TeamConfig, UserConfig
from proxy.config.problems import hidden
from proxy.config.providers import AccountConfig
from proxy.config.secrets import fingerprint
from proxy.config.settings import Config


def describe(config: Config) -> str:
    """What ``config`` means: where it listens, its providers and accounts, models, aliases, keys, warnings."""
    return hidden("\n".join(_lines(config)))


def _lines(config: Config) -> Iterator[str]:
    server = config.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    yield f"server     {host}:{server.port}"
    yield f"ledger     {config.ledger.url or 'ledger.sqlite in TOLLWAY_HOME'}, durability {config.ledger.durability}"
    yield from _block("providers", _providers(config), "found by themselves: keys in the environment, Ollama, LM Studio, local")
    yield from _block("models", _models(config), "those of the providers")
    yield from _block("aliases", (f"{alias} -> {meant}" for alias, meant in config.aliases.items()), "none")
    if config.policies:
        yield from _block("policies", _policies(config), "those that come with Tollway")
    yield from _block("keys", _keys(config), "none declared")
    if config.users:
        yield from _block("users", _owners(config.users), "none declared")
    if config.teams:
        yield from _block("teams", _owners(config.teams), "none declared")
    yield from _block("budgets", _budgets(config), "none declared")
    if config.warnings:
        yield from _block("warnings", config.warnings, "none")


def _block(title: str, lines: Iterator[str] | tuple[str, ...], otherwise: str) -> Iterator[str]:
    for index, line in enumerate(tuple(lines) or (otherwise,)):
        yield f"{'' if index else title:<10} {line}"


def _providers(config: Config) -> Iterator[str]:
    for name, provider in config.providers.items():
        accounts = provider.named_accounts()
        models = f", models {', '.join(provider.models)}" if provider.models else ""
        at = f" at {provider.base_url}" if provider.base_url else ""
        through = f" through litellm as {provider.litellm_provider or name}" if provider.type == "litellm" else ""
        yield f"{name}{at}{through}: {len(accounts)} account{'s' if len(accounts) > 1 else ''}{models}"
        for account in accounts:
            at = f" at {account.base_url}" if account.base_url != provider.base_url else ""
            yield f"  {account.name}{at}: {_credential(account)}"


def _credential(account: AccountConfig) -> str:
    key = f"key #{fingerprint(account.api_key)}" if account.api_key else _identity(account)
    where = f" in {account.region}" if account.region else ""
    profile = f", profile {account.profile}" if account.profile else ""
    return key + where + profile + (f", weight {account.weight}" if account.weight != 1 else "")


def _identity(account: AccountConfig) -> str:
    """What opens it without a key."""
    if account.project:
        return f"token for project {account.project}"
    return "signed" if account.region else "no key"


def _models(config: Config) -> Iterator[str]:
    for name, model in config.models.items():
        targets = (target.model + (f" x{target.weight}" if target.weight != 1 else "") for target in model.targets)
        fallbacks = f", then {', '.join(model.fallbacks)}" if model.fallbacks else ""
        yield f"{name}: {', '.join(targets)}{fallbacks}"


def _policies(config: Config) -> Iterator[str]:
    for name, policy in config.policies.items():
        others = sorted(policy.model_fields_set - {"rule"})
        yield f"{name}: {policy.rule or 'the rule that it comes with'}" + (f", with {', '.join(others)}" if others else "")


def _keys(config: Config) -> Iterator[str]:
    for name, declared in config.keys.items():
        if declared.key is not None:
            role = "admin" if declared.admin else "not admin"
            models = ", ".join(declared.models) or "all"
            owners = ", ".join(f"{kind} {owner}" for kind, owner in (("user", declared.user), ("team", declared.team)) if owner)
            yield f"{name}: key #{fingerprint(declared.key)}, {role}, models {models}" + (f", {owners}" if owners else "")


def _owners(owners: Mapping[str, TeamConfig]) -> Iterator[str]:
    for name, declared in owners.items():
        team = f"team {declared.team}, " if isinstance(declared, UserConfig) and declared.team else ""
        yield f"{name}: {team}models {', '.join(declared.models) or 'all'}"


def _budgets(config: Config) -> Iterator[str]:
    for name, budget in config.budgets.items():
        unit = next((it for it in ("usd", "tokens", "requests") if getattr(budget, it) is not None), "")
        limit = "" if not unit else f"{getattr(budget, unit):g} USD" if unit == "usd" else f"{getattr(budget, unit)} {unit}"
        every = "in all" if budget.period == "total" else f"a {budget.period}"
        yield f"{name}: {limit} {every} for {budget.scope}"
