"""``GET /v1/models`` and ``/v1/models/{id}``: what the caller may use."""

from __future__ import annotations

from collections.abc import Callable
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
    """The models list, from the table of the moment.  started_s: epoch seconds; the table knows no better date."""

    def __init__(self, table: Callable[[], ModelTable], started_s: int) -> None:
        self._table = table
        self._started_s = started_s

    def list(self, principal: Principal) -> bytes:
        """Every model the principal may use."""
        return msgspec.json.encode(
            ModelList(data=[self._row(it.id, it.owned_by) for it in self._table().models() if may_use(principal, it.id)])
        )

    def one(self, principal: Principal, name: str) -> bytes:
        """One of them, by any name that a request could use.  Raises: ModelNotFound."""
        tiers = self._table().resolve(name)
        first = tiers[0].deployments[0]
        if not may_use(principal, name, first.name):
            raise ModelNotFound(f"The model '{name}' is not known here.", param="model")
        known = next((it for it in self._table().models() if it.id == name), None)
        return msgspec.json.encode(self._row(name, known.owned_by if known else first.upstream.provider))

    def _row(self, name: str, owner: str) -> ModelRow:
        return ModelRow(id=name, created=self._started_s, owned_by=owner)
