"""The models list, and one of it, in the shape of each protocol: what the caller may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from providers.provider import Protocol
from proxy.api import anthropic, gemini
from proxy.call import Principal
from proxy.errors import ModelNotFound
from proxy.models import Model, ModelTable
from proxy.stages.model_router import may_use

NO_QUERY: Mapping[str, str] = {}


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as OpenAI's API lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's list envelope."""

    object: Literal["list"] = "list"
    data: list[ModelRow]


class Models:
    """The models list, from the table of the moment.

    started_s: epoch seconds; the table knows no better date.  policies: the names by which a model is chosen.
    """

    def __init__(self, table: Callable[[], ModelTable], started_s: int, *, policies: Sequence[str] = ()) -> None:
        self._table = table
        self._started_s = started_s
        self._policies = policies

    def list(self, principal: Principal, protocol: Protocol = "openai", query: Mapping[str, str] = NO_QUERY) -> bytes:
        """Every model the principal may use.  query: which page, where the protocol has some.  Raises: InvalidRequest."""
        chosen = [Model(id=name, owned_by="tollway") for name in self._policies]
        models = [it for it in (*self._table().models(), *chosen) if may_use(principal, it.id)]
        if protocol == "anthropic":
            return msgspec.json.encode(anthropic.page(models, self._started_s, query))
        if protocol == "gemini":
            return msgspec.json.encode(gemini.page(models, query))
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
            return msgspec.json.encode(anthropic.row(name, self._started_s))
        if protocol == "gemini":
            return msgspec.json.encode(gemini.row(name))
        return msgspec.json.encode(self._row(name, owner))

    def _row(self, name: str, owner: str) -> ModelRow:
        return ModelRow(id=name, created=self._started_s, owned_by=owner)
