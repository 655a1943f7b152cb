"""Quality, speed and cost, and rankings by them."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.catalogue.indices import TASKS, Indices
from ledger.catalogue.metrics import METRICS
from ledger.catalogue.snapshot import Snapshot, StatedPrice
from ledger.facts import Observation
from ledger.records import Price
from tests.ledger import recorded
from tests.ledger.catalogue.observed import MODEL, seen


def recorded_indices(day: str) -> Indices:
    resolver = Resolver(aliases.load())
    readings = recorded.artificial_analysis(day).readings
    return Indices(Snapshot([it for reading in readings if isinstance(it := resolver.observe(reading), Observation)]))


def price(offer: str, input_nusd: int, output_nusd: int) -> StatedPrice:
    row = Price(source="a list", input_nusd_per_mtok=input_nusd, output_nusd_per_mtok=output_nusd)
    return StatedPrice(source="openrouter", offer=offer, fetched_at_us=1, price=row)


def test_every_task_is_made_of_metrics_of_quality_with_an_order() -> None:
    for weights in TASKS.values():
        assert all(METRICS[name].group in ("quality", "agentic") for name in weights)
        assert all(METRICS[name].higher_is_better is not None and weight > 0 for name, weight in weights.items())


def test_quality_is_where_one_stands_among_all_that_were_measured() -> None:
    values = (0.2, 0.4, 0.9)
    indices = Indices(Snapshot([seen(value, "ifbench", variant=f"acme/{value}") for value in values]))

    found = [indices.quality(f"acme/{value}", "instruction") for value in values]

    mean = sum(values) / 3
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
    assert [it and it.value for it in found] == pytest.approx([1 / (1 + math.exp((mean - it) / deviation)) for it in values])
    assert found[0] is not None
    assert (found[0].coverage, found[0].parts[0].score.source) == (1.0, "artificial_analysis")


def test_what_is_known_less_of_counts_less() -> None:
    full = [seen(0.5, name, variant="acme/full") for name in ("mmlu_pro", "simpleqa_verified", "facts_grounding", "mmmlu")]
    half = [seen(0.5, name, variant="acme/half") for name in ("mmlu_pro", "mmmlu")]
    indices = Indices(Snapshot([*full, *half, seen(0.5, "mmlu_pro", variant="acme/little")]))

    found = [indices.quality(f"acme/{name}", "knowledge") for name in ("full", "half", "little")]

    assert [it and (it.coverage, it.value) for it in found] == [(1.0, 0.5), (1.0, 0.5), (0.5, 0.8 * 0.5)]


def test_of_what_is_better_the_lower_less_is_better() -> None:
    near, far = (seen(value, "omnidocbench_edit_distance", variant=name) for value, name in ((0.1, "acme/a"), (0.3, "acme/b")))

    ranked = Indices(Snapshot([far, near])).rankings("vision")

    assert [it.quality.subject for it in ranked] == ["acme/a", "acme/b"]


def test_what_nobody_measured_has_no_quality() -> None:
    indices = Indices(Snapshot([seen(0.5)]))

    assert indices.quality(MODEL, "math") is None
    assert indices.quality("acme/unknown") is None
    assert indices.rankings("math") == ()


def test_a_task_that_there_is_not_is_said() -> None:
    indices = Indices(Snapshot())

    for ask in (lambda: indices.quality(MODEL, "charm"), lambda: indices.rankings("charm")):
        with pytest.raises(LookupError, match="there are: general, coding"):
            ask()


def test_a_model_is_never_credited_with_more_thinking_than_it_would_do() -> None:
    efforts = ("high", "low", "xhigh")
    indices = Indices(Snapshot([seen(0.5, variant=f"{MODEL}#{effort}") for effort in efforts]))

    found = indices.quality(f"{MODEL}@azure")

    assert found is not None
    assert (found.subject, found.as_run) == (f"{MODEL}@azure", f"{MODEL}#low")
    assert indices.quality(f"{MODEL}#max") is None


def test_speed_is_the_time_of_an_answer_and_live_values_count() -> None:
    offer = f"{MODEL}@azure"
    indices = Indices(Snapshot([seen(2000.0, "ttft_p50", offer=offer), seen(100.0, "output_tps_p50", offer=offer)]))

    published = indices.speed(offer)
    measured = indices.speed(offer, {(offer, "ttft_p50"): (4000.0, 25)})

    assert published is not None
    assert measured is not None
    assert (published.answer_s, published.value) == (7.0, 10 / 17)
    assert measured.answer_s == 8.0
    assert [it.metric for it in published.parts] == ["ttft_p50", "output_tps_p50"]
    assert indices.speed(MODEL) is None


def test_a_variant_that_is_asked_here_has_a_place_beside_those_that_were_measured_at_an_effort() -> None:
    indices = Indices(Snapshot([seen(0.5, variant=f"{MODEL}#medium"), seen(0.4, variant="acme/other")]))
    live = {(MODEL, "ttft_p50"): (4000.0, 25), (MODEL, "output_tps_p50"): (100.0, 25), ("acme/unheard-of", "e2e_p50"): (1.0, 1)}

    ranked = indices.rankings("general", live=live)

    assert [it.quality.subject for it in ranked] == [MODEL, f"{MODEL}#medium", "acme/other"]
    assert (ranked[0].quality.as_run, ranked[0].speed and ranked[0].speed.answer_s) == (f"{MODEL}#medium", 9.0)


def test_cost_is_the_cheapest_paid_offers_and_an_unknown_price_is_not_free() -> None:
    prices = [price(f"{MODEL}@a", 10**9, 10**9), price(f"{MODEL}@b", 2 * 10**9, 10**9), price(f"{MODEL}@c:free", 0, 0)]
    indices = Indices(Snapshot(prices=[*prices, price("acme/gratis@c:free", 0, 0)]))

    cheapest, dear, free = indices.cost(f"{MODEL}#high"), indices.cost(f"{MODEL}@b"), indices.cost("acme/gratis")

    assert cheapest is not None
    assert dear is not None
    assert free is not None
    assert (cheapest.offer, cheapest.blended_nusd_per_mtok, cheapest.value) == (f"{MODEL}@a", 10**9, 0.5)
    assert dear.blended_nusd_per_mtok == 1_750_000_000
    assert (free.offer, free.value) == ("acme/gratis@c:free", 1.0)
    assert indices.cost(f"{MODEL}@nowhere") is None
    assert indices.cost("acme/unknown") is None


def test_rankings_of_recorded_values_change_as_the_values_do() -> None:
    march, may = recorded_indices(recorded.MARCH), recorded_indices(recorded.MAY)

    first, later = march.rankings("coding"), may.rankings("coding")

    assert len(first) > 300
    assert len(later) > len(first)
    assert later[0].quality.as_run == "openai/gpt-5-5#xhigh"
    assert "openai/gpt-5-5#xhigh" not in {it.quality.subject for it in first}
    assert [it.place for it in first] == list(range(1, len(first) + 1))
    assert all(one.quality.value >= other.quality.value for one, other in pairwise(first))


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 100).map(lambda it: it / 100), min_size=1))
def test_quality_is_between_0_and_1_and_in_the_order_of_the_only_benchmark(values: dict[str, float]) -> None:
    indices = Indices(Snapshot([seen(value, "ifbench", variant=f"acme/{name}") for name, value in values.items()]))

    found = indices.rankings("instruction")

    assert all(0 < it.quality.value < 1 for it in found)
    assert [values[it.quality.subject[-1]] for it in found] == sorted(values.values(), reverse=True)
