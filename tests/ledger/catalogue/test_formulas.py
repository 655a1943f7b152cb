"""Other systems' indices."""

import pytest

from ledger.catalogue.formulas import FORMULAS, ranked, thegent, tokenledger
from ledger.catalogue.indices import Indices
from ledger.catalogue.snapshot import Snapshot, StatedPrice
from ledger.records import Price
from tests.ledger.catalogue.observed import MODEL, seen

PRICE = Price(source="a list", input_nusd_per_mtok=2_500_000_000, output_nusd_per_mtok=10_000_000_000)


def test_thegents_quality_is_by_its_weights() -> None:
    snapshot = Snapshot([seen(0.6, "terminal_bench_2"), seen(0.8, "swe_bench_verified"), seen(1.0, "aime_2025")])

    found = thegent(Indices(snapshot), MODEL)

    assert found is not None
    assert found.value == pytest.approx(0.7 * 0.6 + 0.2 * 0.8 + 0.1 * 1.0)
    assert found.missing == ()


def test_thegents_missing_parts_are_a_half_and_are_said() -> None:
    found = thegent(Indices(Snapshot([seen(0.6, "terminal_bench_2"), seen(0.9, "swe_bench_pro")])), MODEL)

    assert found is not None
    assert found.value == pytest.approx(0.7 * 0.6 + 0.3 * 0.5)
    assert found.missing == ("swe_bench_verified", "aime_2025")


def test_tokenledgers_score_is_by_its_weights() -> None:
    stated = StatedPrice(source="openrouter", offer=f"{MODEL}@openrouter", fetched_at_us=1, price=PRICE)
    snapshot = Snapshot([seen(60.0, "intelligence_index"), seen(100.0, "output_tps_p50")], prices=[stated])

    found = tokenledger(Indices(snapshot), MODEL)

    assert found is not None
    assert found.value == pytest.approx(0.5 * 0.6 + 0.3 * 0.5 + 0.2 * 0.75)


def test_tokenledgers_missing_parts_are_nothing_and_are_said() -> None:
    found = tokenledger(Indices(Snapshot([seen(60.0, "intelligence_index")])), MODEL)

    assert found is not None
    assert (found.value, found.missing) == (0.3, ("output_tps_p50", "price_input"))


@pytest.mark.parametrize("formula", FORMULAS)
def test_of_what_nothing_is_known_there_is_no_value(formula: str) -> None:
    assert FORMULAS[formula](Indices(Snapshot([seen(0.5)])), MODEL) is None
    assert ranked(Indices(Snapshot([seen(0.5)])), formula) == ()


def test_all_are_ranked_by_a_formula() -> None:
    snapshot = Snapshot(
        [seen(value, "terminal_bench_2", variant=name) for value, name in ((0.1, "a/a"), (0.9, "a/b"), (0.1, "a/0"))]
    )

    assert [it.subject for it in ranked(Indices(snapshot), "thegent")] == ["a/b", "a/0", "a/a"]


def test_a_formula_that_there_is_not_is_said() -> None:
    with pytest.raises(LookupError, match="there are: thegent, tokenledger"):
        ranked(Indices(Snapshot()), "magic")
