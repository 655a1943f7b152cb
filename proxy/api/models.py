"""``GET /v1/models`` and ``/v1/models/{id}``: what the caller may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from proxy.call import Principal
from proxy.errors import ModelNotFound
from proxy.models import ModelTable
from proxy.stages.model_router import may_use


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

    def list(self, principal: Principal) -> bytes:
        """Every model the principal may use."""
        chosen = [(name, "tollway") for name in self._policies]
        known = [*((it.id, it.owned_by) for it in self._table().models()), *chosen]
        return msgspec.json.encode(
            ModelList(data=[self._row(name, owner) for name, owner in known if may_use(principal, name)])
        )

    def one(self, principal: Principal, name: str) -> bytes:
        """One of them, by any name that a request could use.  Raises: ModelNotFound."""
        if name in self._policies and may_use(principal, name):
            return msgspec.json.encode(self._row(name, "tollway"))
        tiers = self._table().resolve(name)
        first = tiers[0].deployments[0]
        if not may_use(principal, name, first.name):
            raise ModelNotFound(f"The model '{name}' is not known here.", param="model")
        known = next((it for it in self._table().models() if it.id == name), None)
        return msgspec.json.encode(self._row(name, known.owned_by if known else first.upstream.provider))

    def _row(self, name: str, owner: str) -> ModelRow:
        return ModelRow(id=name, created=self._started_s, owned_by=owner)
