"""What an answer would cost and how long it would take, for this request and no other."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from msgspec.structs import replace

from proxy.call import RouteField
from proxy.routing.estimate import Session, fits
from proxy.routing.features import Features
from proxy.routing.field import Field
from proxy.routing.live import Live
from proxy.routing.policy import Policy
from proxy.routing.router import Decision, decide
from tests.proxy.routing.worlds import ASK, Known, field_of

FIELD = field_of({"one": Known(input_usd=2, output_usd=8, ttft_ms=400, tokens_per_s=50)})
POLICY = Policy(rule="cheapest")


class Seen(msgspec.Struct, frozen=True):
    """A measured value."""

    value: float
    n: int


class Measurements:
    """By offer and task."""

    def __init__(self, rows: Mapping[tuple[str, str], Mapping[str, Seen]]) -> None:
        self._rows = rows

    def by_offer(self, offer: str, task: str = "", /) -> Mapping[str, Seen]:
        return self._rows.get((offer, task), {})


def decided(features: Features = ASK, live: Live | None = None, field: Field = FIELD, **more: object) -> Decision:
    return decide(field, features, POLICY, live=live or Live(), **more)  # type: ignore[arg-type]  # what decide takes


def test_a_request_costs_its_own_tokens() -> None:
    decision = decided()

    # 1,000 tokens at two dollars a million; 400 of an answer at eight, which is what a general one has.
    assert list(decision.costs) == [2_000_000 + 400 * 8_000]
    assert list(decision.latencies) == [400 + 400 * 20]


def test_an_answer_has_no_more_tokens_than_are_asked_for() -> None:
    decision = decided(replace(ASK, output_max=10))

    assert (list(decision.costs), list(decision.latencies)) == ([2_000_000 + 10 * 8_000], [400 + 10 * 20])


def test_several_answers_cost_as_many_times_as_much() -> None:
    assert list(decided(replace(ASK, choices=3, output_max=10)).costs) == [2_000_000 + 30 * 8_000]


def test_a_warm_prefix_is_paid_as_what_is_read_from_the_cache() -> None:
    session = Session(offer="openai/one", warm_tokens=600)

    assert list(decided(replace(ASK, output_max=0), session=session).costs) == [400 * 2_000 + 600 * 200]


def test_how_long_answers_are_is_learned_for_each_kind() -> None:
    rows = {("openai/one", "general"): {"tokens_out_per_answer": Seen(4_000, 10_000)}}
    live = Live(offers=Measurements(rows))

    assert decided(replace(ASK, output_max=None), live).costs[0] == pytest.approx(2_000_000 + 4_000 * 8_000, rel=0.01)


def test_who_is_wordy_at_one_kind_is_expected_to_be_so_at_another() -> None:
    rows = {
        ("openai/one", "coding"): {"tokens_out_per_answer": Seen(4_500, 10_000)},
        ("openai/one", ""): {"tokens_out_per_answer": Seen(4_500, 10_001)},
    }
    live = Live(offers=Measurements(rows))

    # Five times as many as are usual of code; so five times as many as are usual of everything.
    assert decided(replace(ASK, output_max=None), live).costs[0] == pytest.approx(2_000_000 + 2_000 * 8_000, rel=0.02)


def test_what_is_measured_of_all_kinds_together_is_counted_once() -> None:
    whole = {"tokens_out_per_answer": Seen(4_000, 10)}
    live = Live(offers=Measurements({("openai/one", ""): whole, ("openai/one", "general"): whole}))

    # Ten answers of four thousand, and ten that are taken for four hundred.
    assert decided(replace(ASK, output_max=None), live).costs[0] == 2_000_000 + 2_200 * 8_000


def test_answers_of_other_kinds_tell_how_wordy_somebody_is_and_not_how_long_these_answers_are() -> None:
    code = {"tokens_out_per_answer": Seen(900, 10_000)}
    whole = {"tokens_out_per_answer": Seen(900, 10_001)}
    rows = {("openai/one", "coding"): code, ("openai/one", ""): whole, ("openai/one", "general"): whole}
    live = Live(offers=Measurements(rows))

    # As long as is usual of code; so this answer will be as long as is usual, and not as long as code.
    assert decided(replace(ASK, output_max=None), live).costs[0] == pytest.approx(2_000_000 + 400 * 8_000, rel=0.01)


def test_a_slower_upstream_is_seen_as_far_as_it_is_measured() -> None:
    rows = {("openai/one", ""): {"ttft_p50": Seen(2_000, 25), "output_tps_p50": Seen(10, 25)}}
    live = Live(offers=Measurements(rows))

    assert decided(live=live).latencies[0] == pytest.approx(1_200 + 400 * 60)


def test_a_family_that_counts_more_tokens_costs_more() -> None:
    live = Live(bytes_per_token={"openai": 2.0})

    assert list(decided(replace(ASK, output_max=0), live).costs) == [4_000_000]


@pytest.mark.parametrize(("judged", "least", "most"), [(0, 0.5, 0.5), (2, 0.6, 0.75), (200, 0.95, 1.0)])
def test_what_is_judged_good_here_counts_as_far_as_it_is_grounded(judged: int, least: float, most: float) -> None:
    rows = {("openai/one", "general"): {"live_pass_rate": Seen(1.0, judged)}}
    field = field_of({"one": Known(), "two": Known()})

    found = decided(live=Live(offers=Measurements(rows)), field=field).slate.outlook.expected[0]

    assert found is not None
    assert least <= found <= most


def test_what_nobody_knows_keeps_to_no_limit() -> None:
    field = field_of({"one": Known(score=None, input_usd=None, ttft_ms=None)})

    found = [
        decided(field=field, constraints=limit).excluded[0]
        for limit in (
            RouteField(max_cost_nusd=10**12),
            RouteField(max_ttft_ms=1e6),
            RouteField(max_latency_ms=1e6),
            RouteField(min_quality=0.0),
        )
    ]

    assert found == [
        "its price is unknown",
        "how long its first token takes is unknown",
        "how long its answer takes is unknown",
        "its quality is unknown",
    ]


def test_what_does_not_fit_is_not_asked() -> None:
    field = field_of({"one": Known(window_tokens=1_200)})

    assert decided(field=field).excluded == {0: "its context of 1,200 tokens is too small for about 1,500"}
    assert decided(replace(ASK, output_max=100), field=field).chosen == "openai/one"


def test_patterns_mean_names_and_nothing_else_is_one() -> None:
    assert fits(("groq/*", "openai/gpt-?"), "openai/gpt-5")
    assert fits(("*",), "a/b/c")
    assert not fits(("openai/gpt", "GPT*", "[", "a|openai"), "openai/gpt-5")
    assert not fits((), "openai/gpt-5")


@pytest.mark.parametrize(
    ("known", "needs", "reason"),
    [
        (Known(capabilities=("tools",)), ("structured_output",), "it does not have structured_output"),
        (Known(), ("tools",), ""),
        (Known(), ("vision",), "it is not known to have vision"),
        (Known(modalities_in=("text",)), ("vision",), "it does not have vision"),
        (Known(modalities_in=("text", "image")), ("vision",), ""),
        (Known(capabilities=("vision",)), ("vision",), ""),
    ],
)
def test_who_cannot_is_not_asked(known: Known, needs: tuple[str, ...], reason: str) -> None:
    decision = decided(replace(ASK, needs=needs), field=field_of({"one": known}))

    assert [it.reason for it in decision.slate.rejected] == ([reason] if reason else [])
