"""A payload that can be read and should not count."""

import pytest

from ledger.facts import ModelFact, OfferPrice, Parsed, Reading, Subject
from ledger.records import Price
from ledger.refresh.gates import reasons, rows


def reading(name: str, value: float = 50.0, *, version: str = "4.0", metric: str = "intelligence_index") -> Reading:
    return Reading(
        source="s",
        source_version=version,
        subject=Subject(source_name=name),
        metric=metric,
        value=value,
        unit="points",
        observed_at_us=1,
        fetched_at_us=1,
    )


def offer(name: str, nusd: int = 1_000_000_000) -> OfferPrice:
    price = Price(source="s", input_nusd_per_mtok=nusd, output_nusd_per_mtok=nusd)
    return OfferPrice(subject=Subject(source_name=name), price=price)


NAMES = [f"m{at}" for at in range(10)]
BEFORE = Parsed(
    readings=tuple(map(reading, NAMES)),
    models=tuple(ModelFact(subject=Subject(source_name=name)) for name in NAMES),
    prices=tuple(map(offer, NAMES)),
)


def test_what_is_as_it_was_passes() -> None:
    assert reasons(BEFORE, BEFORE) == ()
    assert reasons(BEFORE, None) == ()
    assert rows(BEFORE) == 10


@pytest.mark.parametrize(
    ("parsed", "before", "said"),
    [
        (Parsed(), None, "nothing in it"),
        (Parsed(problems=("everything",)), BEFORE, "nothing in it"),
        (Parsed(prices=tuple(offer(name, 0) for name in NAMES)), None, "every one of its 10 prices is 0"),
        (Parsed(readings=tuple(reading(name, 0.0) for name in NAMES)), None, "values of intelligence_index is 0"),
        (Parsed(readings=BEFORE.readings[:6]), BEFORE, "about 6 models, where there were 10"),
        (Parsed(readings=BEFORE.readings, prices=BEFORE.prices[:5]), BEFORE, "it has 5 prices, where there were 10"),
        (Parsed(readings=BEFORE.readings[:3], models=BEFORE.models), BEFORE, "it has 3 readings"),
        (
            Parsed(readings=tuple(reading(name, version="4.1") for name in NAMES), prices=BEFORE.prices),
            BEFORE,
            "version of its indices is 4.1, where it was 4.0",
        ),
        (Parsed(readings=BEFORE.readings, prices=tuple(offer(it, 10**12) for it in NAMES)), BEFORE, "10 times what it was"),
        (Parsed(readings=BEFORE.readings, prices=(*BEFORE.prices[:9], offer("m9", 0))), BEFORE, "m9 (input)"),
    ],
)
def test_what_looks_wrong_has_its_reason(parsed: Parsed, before: Parsed | None, said: str) -> None:
    assert any(said in reason for reason in reasons(parsed, before))


def test_a_price_ten_times_as_high_passes_and_a_little_more_does_not() -> None:
    tenfold = Parsed(readings=BEFORE.readings, prices=(*BEFORE.prices[:9], offer("m9", 10 * 10**9)))
    more = Parsed(readings=BEFORE.readings, prices=(*BEFORE.prices[:9], offer("m9", 10 * 10**9 + 1)))

    assert reasons(tenfold, BEFORE) == ()
    assert len(reasons(more, BEFORE)) == 1


def test_seven_of_ten_rows_pass() -> None:
    assert reasons(Parsed(readings=BEFORE.readings[:7], prices=BEFORE.prices[:7], models=BEFORE.models[:7]), BEFORE) == ()


def test_of_many_jumps_a_few_are_named_and_the_rest_counted() -> None:
    jumped = Parsed(readings=BEFORE.readings, prices=tuple(offer(name, 10**12) for name in NAMES))

    (reason,) = reasons(jumped, BEFORE)

    assert reason.endswith("m2 (input) and 15 more")
