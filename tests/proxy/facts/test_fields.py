"""A new field whenever something has changed, and none otherwise."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ledger.catalogue.identity import Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.snapshot import Snapshot
from ledger.records import Bounds, Price
from proxy.deployments.models import ModelTable, Named, Provider, Target
from proxy.facts.fields import OLD_US, Fields
from proxy.routing.field import Assumptions
from tests.proxy.routing.worlds import NOW_US, RESOLVER, Known, observed
from tests.proxy.samples import upstream


def table(*models: str) -> ModelTable:
    provider = Provider(name="openai", accounts=((upstream("openai"), 1),), models=models)
    return ModelTable([provider], models={"smart": Named(targets=(Target("openai/unlisted"), Target("nobody/x")))})


class World:
    """Everything that a field is made of."""

    def __init__(self) -> None:
        self.table = table("one")
        self.indices = Indices(Snapshot())
        self.resolver: Resolver = RESOLVER
        self.rows: Mapping[str, Price] = {}
        self.now_us = NOW_US
        self.fields = Fields(
            lambda: self.table, self, self, lambda *_: Bounds(), assumptions=Assumptions(), clock_us=lambda: self.now_us
        )

    def price(self, _provider: str, model: str, _at_us: int | None = None, /) -> Price | None:
        return self.rows.get(model)


@pytest.fixture
def world() -> World:
    return World()


async def test_those_who_are_listed_and_those_who_are_targets_can_be_asked(world: World) -> None:
    assert world.fields.field.names == ["openai/one", "openai/unlisted"]


async def test_nothing_new_makes_no_new_field(world: World) -> None:
    before = world.fields.field
    world.now_us += 1_000_000

    assert not await world.fields.renew()
    assert world.fields.field is before


async def test_another_table_makes_another_field(world: World) -> None:
    world.table = table("one", "two")

    assert await world.fields.renew()
    assert "openai/two" in world.fields.field.places


async def test_new_facts_make_another_field(world: World) -> None:
    world.indices = Indices(Snapshot([observed("one", "intelligence_index", 50, Known())]))

    assert await world.fields.renew()
    assert world.fields.field.grades("general", "")[0] is not None


async def test_another_price_makes_another_field_within_a_second(world: World) -> None:
    world.rows = {"one": Price(source="a list", input_nusd_per_mtok=5, output_nusd_per_mtok=6)}
    too_soon = await world.fields.renew()
    world.now_us += 1_000_000

    assert not too_soon
    assert await world.fields.renew()
    assert world.fields.field.offers[0].price is world.rows["one"]


async def test_a_price_for_pictures_is_none_for_text(world: World) -> None:
    world.rows = {"one": Price(source="list", input_nusd_per_mtok=0, output_nusd_per_mtok=0, image_nusd=40_000_000)}
    world.now_us += 2_000_000

    assert not await world.fields.renew()
    assert [it.price for it in world.fields.field.offers] == [None, None]


async def test_what_is_known_grows_old(world: World) -> None:
    world.now_us += OLD_US + 1

    assert await world.fields.renew()
    assert world.fields.field.at_us == world.now_us
