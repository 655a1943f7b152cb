"""From the configuration to the policies that ``auto`` can mean."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from proxy.call import RouteField
from proxy.config import Config, PolicyConfig
from proxy.routing.auto import Memory
from proxy.routing.field import Assumptions
from proxy.routing.kinds import KINDS
from proxy.routing.policy import POLICIES, Abstain, Explore, Policy, Stick, Weights

NUSD_PER_USD = 10**9


def policies(config: Config) -> Mapping[str, Policy]:
    """Those that come with Tollway, and those that are configured; of one that is both, what is configured counts."""
    found = dict(POLICIES)
    for name, said in config.policies.items():
        found[name] = _policy(found.get(name) or replace(found["auto"], name=name), said)
    return MappingProxyType(found)


def assumptions(config: Config) -> Assumptions:
    """What is taken for granted where nothing is measured."""
    tokens = {name: config.routing.output_tokens.get(name, kind.output_tokens) for name, kind in KINDS.items()}
    return Assumptions(output_tokens=MappingProxyType(tokens), bytes_per_token=config.routing.bytes_per_token)


def memory(config: Config) -> Memory:
    """What is remembered."""
    said = config.routing
    return Memory(receipts_max=said.receipts, sessions_max=said.max_sessions, session_s=said.session_s, warm_s=said.warm_s)


def _policy(base: Policy, said: PolicyConfig) -> Policy:
    """``base`` with what is said."""
    given = said.model_fields_set
    changes: dict[str, Any] = {}
    for name in ("rule", "min_quality", "within_points", "percentile", "caution", "fallbacks"):
        if getattr(said, name) is not None:
            changes[name] = getattr(said, name)
    if "rule" in changes and changes["rule"] != base.rule:
        # Another rule's floor is none of this one's.
        changes = {"min_quality": None, "within_points": None, **changes}
    for name in ("task", "allow", "deny", "default", "fallback"):
        if name in given:
            changes[name] = getattr(said, name)
    if said.point_usd is not None:
        changes["point_nusd"] = round(said.point_usd * NUSD_PER_USD)
    if said.max_cost_usd is not None:
        changes["max_cost_nusd"] = round(said.max_cost_usd * NUSD_PER_USD)
    if "weights" in given:
        changes["weights"] = Weights(**said.weights.model_dump())
    if "limits" in given:
        usd = said.limits.max_cost_usd
        changes["limits"] = RouteField(
            max_cost_nusd=None if usd is None else round(usd * NUSD_PER_USD),
            **said.limits.model_dump(exclude={"max_cost_usd"}),
        )
    if "abstain" in given:
        least = Abstain(coverage=said.abstain.coverage, confidence=said.abstain.confidence)
        changes["abstain"] = least if said.abstain.enabled else None
    if "explore" in given:
        it = said.explore
        changes["explore"] = Explore(
            fraction=it.percent / 100, max_cost_nusd=round(it.max_cost_usd * NUSD_PER_USD), seed=it.seed
        )
    if "sessions" in given:
        session = said.sessions
        stick = Stick(points=session.points, cost_ratio=session.cost_ratio, latency_ratio=session.latency_ratio)
        changes["stick"] = stick if session.enabled else None
    return replace(base, **changes)
