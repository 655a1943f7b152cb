"""Which names a key finds in the list, policies among them."""

from __future__ import annotations

import json

import pytest

from proxy.api.models import Models
from proxy.call import Principal
from proxy.deployments.models import ModelTable, Provider
from proxy.errors import ModelNotFound
from tests.proxy.routing.worlds import Known, field_of
from tests.proxy.samples import upstream

TABLE = ModelTable([Provider(name="acme", accounts=((upstream("acme"), 1),), models=("gpt",))])
MODELS = Models(lambda: TABLE, started_s=1, policies=("auto", "auto:cheap"))


def principal(*models: str) -> Principal:
    return Principal(key_id="key_1", name="alice", models=models)


def listed(*models: str) -> list[str]:
    return [row["id"] for row in json.loads(MODELS.list(principal(*models)))["data"]]


def test_policies_are_names_like_others() -> None:
    assert listed() == ["acme/gpt", "auto", "auto:cheap"]
    assert listed("acme/*") == ["acme/gpt"]
    assert listed("auto*") == ["auto", "auto:cheap"]


def test_what_is_known_is_known_anew_when_the_table_or_the_field_is_another() -> None:
    tables, fields = [TABLE], [field_of({"gpt": Known(window_tokens=1_000)})]
    table = ModelTable([Provider(name="openai", accounts=((upstream("openai"), 1),), models=("gpt",))])
    models = Models(lambda: tables[-1], started_s=1, field=lambda: fields[-1])

    def window() -> object:
        rows = {row["id"]: row for row in json.loads(models.list(principal()))["data"]}
        return rows.get("openai/gpt", {}).get("context_length")

    assert window() is None
    tables.append(table)
    assert window() == 1_000
    fields.append(field_of({"gpt": Known(window_tokens=2_000)}))
    assert window() == 2_000


def test_one_is_told_by_its_name() -> None:
    assert json.loads(MODELS.one(principal(), "auto:cheap"))["owned_by"] == "tollway"
    with pytest.raises(ModelNotFound):
        MODELS.one(principal("acme/*"), "auto")
