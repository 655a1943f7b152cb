"""The ledger at one moment."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.catalogue.merge import Priority, StatedFact
from ledger.catalogue.snapshot import Change, Snapshot, StatedPrice, diff
from ledger.facts import ModelFact, Observation, Subject
from ledger.ports import BenchmarkPort, ModelPort, ProviderPort
from ledger.records import ContextTier, Price, Rates
from tests.ledger.catalogue.observed import MODEL, seen

OFFER = f"{MODEL}@azure"
PRICE = Price(source="a list", input_nusd_per_mtok=1_250_000_000, output_nusd_per_mtok=10_000_000_000)


def price(offer: str = OFFER, source: str = "openrouter", at_us: int = 1, **changes: Any) -> StatedPrice:
    fields = {"source": "a list", "input_nusd_per_mtok": 1, "output_nusd_per_mtok": 2, **changes}
    return StatedPrice(source=source, offer=offer, fetched_at_us=at_us, price=Price(**fields))


def fact(model: str = MODEL, **fields: Any) -> StatedFact:
    stated = ModelFact(subject=Subject(source_name=model), **fields)
    return StatedFact(source="openrouter", model=model, plan="", fetched_at_us=1, fact=stated)


observations = st.lists(
    st.builds(
        seen,
        st.sampled_from((0.1, 0.5, 0.9)),
        st.sampled_from(("gpqa_diamond", "hle")),
        source=st.sampled_from(("artificial_analysis", "openrouter", "override", "someone")),
        source_version=st.sampled_from(("", "v1", "v2")),
        variant=st.sampled_from((MODEL, f"{MODEL}#high", "openai/gpt-4")),
        offer=st.sampled_from(("", OFFER)),
        confidence=st.sampled_from((0.0, 0.5, 1.0)),
        days=st.sampled_from((0, 0.1, 1, 40)),
    ),
    max_size=30,
)
indexed = st.lists(
    st.builds(
        seen,
        st.sampled_from((10.0, 20.0, 30.0)),
        st.just("intelligence_index"),
        source=st.sampled_from(("artificial_analysis", "openrouter", "override")),
        source_version=st.sampled_from(("v3", "v4", "")),
        variant=st.sampled_from((MODEL, "openai/gpt-4")),
        days=st.sampled_from((0, 1, 40)),
    ),
    max_size=20,
)


@given(observations, indexed, st.randoms())
def test_any_order_of_the_same_observations_gives_the_same_snapshot(
    plain: list[Observation], index: list[Observation], chance: Any
) -> None:
    ordered = [*plain, *index]
    shuffled = list(ordered)
    chance.shuffle(shuffled)

    one, other = Snapshot(ordered), Snapshot(shuffled)

    assert one.id == other.id
    assert one.scores == other.scores
    assert one.conflicts == other.conflicts
    assert diff(one, other) == ()


@given(observations)
def test_saying_everything_twice_changes_nothing(plain: list[Observation]) -> None:
    assert Snapshot([*plain, *plain]).id == Snapshot(plain).id


@given(indexed)
def test_no_two_versions_of_an_index_are_in_one_snapshot(index: list[Observation]) -> None:
    scores = [score for metrics in Snapshot(index).scores.values() for score in metrics.values()]

    assert len({score.source_version or score.source for score in scores if score.source != "override"}) <= 1


@given(
    st.lists(
        st.builds(price, source=st.sampled_from("abc"), at_us=st.integers(1, 3), input_nusd_per_mtok=st.integers(0, 3)),
        max_size=9,
    )
)
@settings(max_examples=50)
def test_the_order_of_prices_does_not_matter(prices: list[StatedPrice]) -> None:
    assert Snapshot(prices=prices).id == Snapshot(prices=prices[::-1]).id


def test_equal_content_has_an_equal_id_at_any_moment_and_another_value_another() -> None:
    assert Snapshot([seen(0.5)], at_us=1).id == Snapshot([seen(0.5)], at_us=2).id
    assert Snapshot([seen(0.5)]).id != Snapshot([seen(0.6)]).id
    assert Snapshot().id == Snapshot(at_us=5).id


def test_reading_a_price_again_changes_nothing() -> None:
    assert Snapshot(prices=[price(at_us=1)]).id == Snapshot(prices=[price(at_us=1), price(at_us=2)]).id


def test_an_offer_has_its_own_values_then_its_variants_then_its_models_limits() -> None:
    snapshot = Snapshot(
        [
            seen(0.7, variant=f"{MODEL}#high"),
            seen(200.0, "ttft_p50", variant=f"{MODEL}#high", offer=f"{MODEL}#high@azure"),
            seen(500.0, "ttft_p50", variant=f"{MODEL}#high"),
            seen(400_000.0, "context_window"),
            seen(0.5),
        ]
    )

    def value(subject: str, metric: str) -> float | None:
        return snapshot.value(subject, metric)

    assert value(f"{MODEL}#high@azure", "ttft_p50") == 200.0
    assert value(f"{MODEL}#high@openai", "ttft_p50") == 500.0
    assert value(f"{MODEL}#high@azure", "gpqa_diamond") == 0.7
    assert value(f"{MODEL}#high@azure", "context_window") == 400_000.0
    assert value(f"{MODEL}#low", "context_window") == 400_000.0
    assert value(f"{MODEL}#low", "gpqa_diamond") is None
    assert value("nobody/nothing@nowhere", "gpqa_diamond") is None


def test_a_value_that_is_measured_here_is_blended_with_what_was_published() -> None:
    snapshot = Snapshot([seen(100.0, "ttft_p50", offer=OFFER)])
    live = {(OFFER, "ttft_p50"): (300.0, 25), (OFFER, "success_rate"): (0.99, 7)}

    assert snapshot.value(OFFER, "ttft_p50", live) == 200.0
    assert snapshot.value(OFFER, "success_rate", live) == 0.99
    assert snapshot.value(OFFER, "ttft_p50") == 100.0
    assert snapshot.measured(OFFER, "ttft_p50", live) == (300.0, 25)
    assert snapshot.measured(OFFER, "ttft_p90", live) is None


def test_what_counts_more_than_live_values_is_not_blended_with_them() -> None:
    live = {(OFFER, "ttft_p50"): (300.0, 25)}
    overridden = Snapshot([seen(100.0, "ttft_p50", offer=OFFER, source="override")])
    last = Snapshot([seen(100.0, "ttft_p50", offer=OFFER)], priority=Priority(of={"speed": ("artificial_analysis", "live")}))

    for snapshot in (overridden, last):
        assert snapshot.value(OFFER, "ttft_p50", live) == 100.0
        assert snapshot.measured(OFFER, "ttft_p50", live) is None


def test_prices_are_the_offers_or_the_models_at_that_host() -> None:
    snapshot = Snapshot(prices=[price(source="litellm", input_nusd_per_mtok=9), price(input_nusd_per_mtok=7)])

    found = snapshot.price(f"{MODEL}#high@azure")

    assert found is not None
    assert (found.source, found.price.input_nusd_per_mtok) == ("openrouter", 7)
    assert snapshot.price(f"{MODEL}@elsewhere") is None


def test_models_variants_and_offers_are_listed() -> None:
    snapshot = Snapshot([seen(0.7, variant=f"{MODEL}#high")], [fact(), fact("acme/one")], [price()])

    assert snapshot.names() == ("acme/one", MODEL)
    assert snapshot.variants(MODEL) == (MODEL, f"{MODEL}#high")
    assert snapshot.offers(MODEL) == (OFFER,)
    assert snapshot.variants("nobody/nothing") == ()


def test_it_is_what_the_ports_ask_for() -> None:
    snapshot = Snapshot()
    ports: tuple[BenchmarkPort, ModelPort, ProviderPort] = (snapshot, snapshot, snapshot)

    assert all(port is snapshot for port in ports)


def test_the_difference_of_two_is_listed() -> None:
    before = Snapshot([seen(0.5), seen(0.2, "hle")], [fact(context_tokens=1)], [price()])
    tiered = price(context_tiers=(ContextTier(above_tokens=5, rates=Rates(input_nusd_per_mtok=3, output_nusd_per_mtok=4)),))
    after = Snapshot([seen(0.6, days=1)], [fact(context_tokens=2, released="2026-01-01")], [tiered])

    changes = diff(before, after)

    assert changes[:2] == (
        Change(subject=MODEL, field="gpqa_diamond", before=0.5, after=0.6),
        Change(subject=MODEL, field="hle", before=0.2, after=None),
    )
    assert [(it.subject, it.field) for it in changes[2:]] == [(OFFER, "price"), (MODEL, "context_tokens"), (MODEL, "released")]
    assert diff(before, before) == ()


def test_whose_word_counts_is_part_of_the_outcome() -> None:
    both = [seen(0.1), seen(0.2, source="openrouter")]

    assert Snapshot(both).id != Snapshot(both, priority=Priority(order=("openrouter",))).id


def test_it_pauses_while_it_is_built() -> None:
    pauses: list[float] = []

    Snapshot([seen(0.5, variant=f"acme/{n}") for n in range(1000)], pause=lambda: pauses.append(time.monotonic()))

    assert len(pauses) > 1000 // 64


def test_it_cannot_be_given_more() -> None:
    with pytest.raises(AttributeError):
        Snapshot().more = 1  # type: ignore[attr-defined]  # that is the test
