"""The models list, and one of it, in the shape of each protocol: what the caller may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from providers.provider import Protocol
from proxy.api import anthropic, gemini
from proxy.api.stated import UNKNOWN, Architecture, Pricing, Stated, TopProvider, of
from proxy.call import Principal
from proxy.deployments.models import Model, ModelTable
from proxy.errors import ModelNotFound
from proxy.routing.field import Field
from proxy.stages.model_router import may_use

MEMO_MAX = 10_000
NO_QUERY: Mapping[str, str] = {}


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as OpenAI's API lists it; and what OpenRouter's says of one, where it is known."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    context_length: int | UnsetType = UNSET
    architecture: Architecture | UnsetType = UNSET
    pricing: Pricing | UnsetType = UNSET
    top_provider: TopProvider | UnsetType = UNSET


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's list envelope."""

    object: Literal["list"] = "list"
    data: list[ModelRow]


class Models:
    """The models list, from the table of the moment.

    started_s: epoch seconds; the table knows no better date.  policies: the names by which a model is chosen.
    field: what is known of each.  That is put into words once for each table and each field, in about 10 µs a model.
    """

    def __init__(
        self,
        table: Callable[[], ModelTable],
        started_s: int,
        *,
        policies: Sequence[str] = (),
        field: Callable[[], Field] | None = None,
    ) -> None:
        self._table = table
        self._field = field
        self._of: tuple[object, object] = (None, None)
        self._memo: dict[str, Stated] = {}
        self._started_s = started_s
        self._policies = policies

    def list(self, principal: Principal, protocol: Protocol = "openai", query: Mapping[str, str] = NO_QUERY) -> bytes:
        """Every model the principal may use.  query: which page, where the protocol has some.  Raises: InvalidRequest."""
        chosen = [Model(id=name, owned_by="tollway") for name in self._policies]
        models = [it for it in (*self._table().models(), *chosen) if may_use(principal, it.id)]
        if protocol == "anthropic":
            return msgspec.json.encode(anthropic.page(models, self._started_s, query, self._stated))
        if protocol == "gemini":
            return msgspec.json.encode(gemini.page(models, query, self._stated))
        return msgspec.json.encode(ModelList(data=[self._row(it.id, it.owned_by) for it in models]))

    def one(self, principal: Principal, name: str, protocol: Protocol = "openai") -> bytes:
        """One of them, by any name that a request could use.  Raises: ModelNotFound."""
        if name in self._policies and may_use(principal, name):
            owner = "tollway"
        else:
            tiers = self._table().resolve(name)
            first = tiers[0].deployments[0]
            if not may_use(principal, name, first.name):
                raise ModelNotFound(f"The model '{name}' is not known here.", param="model")
            owner = next((it.owned_by for it in self._table().models() if it.id == name), first.upstream.provider)
        if protocol == "anthropic":
            return msgspec.json.encode(anthropic.row(name, self._started_s, self._stated(name)))
        if protocol == "gemini":
            return msgspec.json.encode(gemini.row(name, self._stated(name)))
        return msgspec.json.encode(self._row(name, owner))

    def _row(self, name: str, owner: str) -> ModelRow:
        known = self._stated(name)
        return ModelRow(
            id=name,
            created=self._started_s,
            owned_by=owner,
            context_length=known.context_length,
            architecture=known.architecture,
            pricing=known.pricing,
            top_provider=known.top_provider,
        )

    def _stated(self, name: str) -> Stated:
        if self._field is None or name in self._policies:
            return UNKNOWN
        current = self._table(), self._field()
        if current[0] is not self._of[0] or current[1] is not self._of[1]:
            self._of, self._memo = current, {}
        known = self._memo.get(name)
        if known is None:
            if len(self._memo) >= MEMO_MAX:
                self._memo.clear()  # who asks for one model may call it what they like
            known = self._memo[name] = of(name, *current)
        return known
