"""From the configuration to the stages that decide who is asked, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from proxy.attempts.attempt import Reserve, Sender, Watch
from proxy.attempts.balance import Load, Loads
from proxy.attempts.breaker import Rules
from proxy.attempts.cooldown import CooldownRules
from proxy.attempts.hedging import NUSD_PER_USD, CostOf, HedgeRules, Hedging, Quantiles
from proxy.attempts.realtime import Sessions
from proxy.attempts.retry_budget import BudgetRules
from proxy.attempts.spending import Spending
from proxy.attempts.translation import Translation
from proxy.call import Gate
from proxy.config import Config
from proxy.deployments.held import Held
from proxy.deployments.models import ModelTable
from proxy.limits.room import Room
from proxy.stages.circuit_breaker import Breaking, CircuitBreaker
from proxy.stages.fallback import Fallback, Retries, Windows
from proxy.stages.load_balancer import Balancing, LoadBalancer


class Clocks(msgspec.Struct, frozen=True):
    """s: monotonic.  us: of the wall.  chance: a number in [0, 1), another one each time."""

    s: Callable[[], float]
    us: Callable[[], int]
    chance: Callable[[], float]


Key = tuple[str, str, str]
"""Provider, account, model; an account itself has no model."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a deployment or an account is doing.  Times to the first byte: ``None`` where nothing is known."""

    key: Key
    state: str = "closed"
    ready_in_s: float = 0.0
    reason: str = ""
    in_flight: int = 0
    ttfb_s: float | None = None
    stream_ttfb_s: float | None = None
    error_ratio: float = 0.0
    spent_nusd: int | None = None


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """The stages, and what they know of each deployment and account."""

    load_balancer: LoadBalancer
    circuit_breaker: CircuitBreaker
    fallback: Fallback
    loads: Loads
    spending: Spending | None
    clocks: Clocks

    def standings(self) -> list[Standing]:
        """Of everybody who was asked lately, or has something held against him."""
        now_s = self.clocks.s()
        health = {(it.provider, it.account, it.model): it for it in self.circuit_breaker.health()}
        loads = self.loads.all()
        found = []
        for key in sorted({*health, *loads}):
            load, ill = loads.get(key) or Load(), health.get(key)
            found.append(
                Standing(
                    key=key,
                    state=ill.state if ill else "closed",
                    ready_in_s=ill.ready_in_s if ill else 0.0,
                    reason=ill.reason if ill else "",
                    in_flight=load.in_flight,
                    ttfb_s=load.ttfb_s(stream=False) or None,
                    stream_ttfb_s=load.ttfb_s(stream=True) or None,
                    error_ratio=load.error_ratio(now_s),
                    spent_nusd=self.spending.spent_nusd(key[0], key[1]) if self.spending else None,
                )
            )
        return found

    def broken(self, table: ModelTable) -> dict[str, str]:
        """The offers, ``provider/model``, that nobody can be asked for just now, and why."""
        ill = {
            (it.provider, it.account, it.model): it.reason or it.state for it in self.circuit_breaker.health() if it.ready_in_s
        }
        if self.spending is not None:
            ill |= {(*account, ""): "it has spent what it may in a day" for account in self.spending.spent_out()}
        if not ill:
            return {}
        found: dict[str, str] = {}
        for provider in table.providers():
            accounts = [upstream.account for upstream, _ in provider.accounts]
            parked = {account: ill[provider.name, account, ""] for account in accounts if (provider.name, account, "") in ill}
            models = {model for name, _, model in ill if name == provider.name and model}
            for model in provider.models if len(parked) == len(accounts) else models:
                reasons = [parked.get(account) or ill.get((provider.name, account, model)) for account in accounts]
                if reasons[0] is not None and None not in reasons:
                    found[f"{provider.name}/{model}"] = f"it is kept back: {reasons[0]}"
        return found

    def parked(self) -> set[tuple[str, str]]:
        """The accounts, by provider and name, that cannot be asked for anything just now."""
        ill = {(it.provider, it.account) for it in self.circuit_breaker.health() if not it.model and it.ready_in_s}
        return ill if self.spending is None else ill | set(self.spending.spent_out())

    def reset(self, name: str) -> int:
        """Forget what is held against those that a name means; how many they were."""

        def meant(key: Key) -> bool:
            return is_meant(name, key)

        self.loads.reset(meant)
        return self.circuit_breaker.reset(meant)


def is_meant(name: str, key: Key) -> bool:
    """Whether a name means this deployment or account: ``provider``, ``provider@account``, ``provider/model`` or
    ``provider/model@account``.  No name means everybody.
    """
    provider, account, model = key
    names = {"", provider, f"{provider}@{account}"}
    return name in (names | {f"{provider}/{model}", f"{provider}/{model}@{account}"} if model else names)


def traffic(
    config: Config,
    transport: Sender,
    *,
    reserve: Reserve,
    watch: Watch,
    spending: Spending | None,
    room: Room,
    windows: Windows,
    cost_of: CostOf,
    clocks: Clocks,
    translation: Translation | None = None,
    held: Held | None = None,
    sessions: Sessions | None = None,
) -> Traffic:
    """The stages as they are configured.

    room: at the accounts.  spending: of accounts that may not spend what they like, if there are any.
    held: told of the responses that providers keep.   sessions: what sockets are opened with.
    """
    loads = Loads(clock_s=clocks.s)
    others: tuple[Gate, ...] = () if spending is None else (spending,)
    breaker = CircuitBreaker(breaking(config), others=others, clock_s=clocks.s, chance=clocks.chance)
    gates: tuple[Gate, ...] = (*others, breaker, loads, room)
    hedger: Hedging | None = None
    if config.hedging.enabled:
        quantiles = Quantiles(hedging(config))
        hedger = Hedging(hedging(config), quantiles, cost_of=cost_of, clock_s=clocks.s)
        gates = (*gates, quantiles)
    return Traffic(
        load_balancer=LoadBalancer(balancing(config), loads=loads, clock_s=clocks.s, chance=clocks.chance),
        circuit_breaker=breaker,
        fallback=Fallback(
            transport,
            reserve=reserve,
            watch=watch,
            retries=retries(config),
            observers=(breaker.observe, loads.observe, room.observe),
            room=room,
            gates=gates,
            windows=windows,
            hedging=hedger,
            held=held,
            clock_s=clocks.s,
            clock_us=clocks.us,
            chance=clocks.chance,
            translation=translation,
            sessions=sessions,
        ),
        loads=loads,
        spending=spending,
        clocks=clocks,
    )


def spending(
    caps_nusd: Mapping[tuple[str, str], int],
    spent_nusd: Callable[[], Mapping[tuple[str, str], int]],
    clock_us: Callable[[], int],
) -> Spending | None:
    """What the accounts have spent that may not spend what they like; the ledger is only asked if there are any."""
    return Spending(caps_nusd, spent_nusd=spent_nusd(), clock_us=clock_us) if caps_nusd else None


def breaking(config: Config) -> Breaking:
    """The circuit breaker's rules."""
    said = config.circuit_breaker
    return Breaking(
        enabled=said.enabled,
        never_last=said.never_last,
        circuit=Rules(
            failures_max=said.failures,
            error_ratio=said.error_percent / 100,
            requests_min=said.min_requests,
            window_s=said.window_s,
            open_s=said.open_s,
            open_max_s=said.open_max_s,
            last_open_s=said.last_open_s,
        ),
        account=Rules(
            failures_max=1, requests_min=2**31, window_s=said.window_s, open_s=said.park_s, open_max_s=said.park_max_s
        ),
        cooldown=CooldownRules(base_s=said.cooldown_s, max_s=said.cooldown_max_s),
    )


def balancing(config: Config) -> Balancing:
    """The load balancer's rules."""
    said = config.load_balancer
    return Balancing(strategy=said.strategy, affinity=said.affinity, affinity_factor=said.affinity_factor)


def retries(config: Config) -> Retries:
    """The rules of trying again."""
    said = config.retries
    return Retries(
        attempts_max=said.max_attempts,
        total_s=said.total_timeout_s,
        wait_s=said.wait_s,
        backoff_s=said.backoff_s,
        continue_streams=said.continue_streams,
        budget=BudgetRules(ratio=said.budget_percent / 100, floor=said.budget_floor),
    )


def hedging(config: Config) -> HedgeRules:
    """The rules of second tries."""
    said = config.hedging
    return HedgeRules(
        quantile=int(said.after.removeprefix("p")) / 100,
        ratio=said.max_percent / 100,
        cost_max_nusd=round(said.max_cost_usd * NUSD_PER_USD),
    )
