from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from ledger import migrations
from ledger.journal.batch import write
from ledger.journal.decisions import routed
from ledger.records import CANDIDATE
from proxy.call import RouteField
from proxy.learning.records import Choice, choices_of, kept_of, record_of
from proxy.learning.records import decided as decided_calls
from proxy.routing.policy import Explore, Policy
from proxy.routing.router import Decision, decide
from tests.ledger.samples import decision as row
from tests.ledger.samples import record
from tests.proxy.routing.worlds import ASK, Known, field_of
from tests.proxy.samples import call

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()
WORLD = field_of(
    {
        "big": Known(score=70, input_usd=10, output_usd=40),
        "mid": Known(score=60, input_usd=1, output_usd=4),
        "worse": Known(score=55, input_usd=2, output_usd=8, ttft_ms=900),
        "small": Known(score=40, input_usd=0.1, output_usd=0.4),
        "unknown": Known(score=None, input_usd=None, ttft_ms=None, tokens_per_s=None),
    }
)


def decided(policy: Policy = Policy(), **changes: object) -> Decision:  # noqa: B008  # frozen
    return decide(WORLD, replace(ASK, **changes), policy)


def test_a_decision_is_kept_with_what_was_expected_of_the_chosen_one() -> None:
    made = decided(Policy(name="auto:best", rule="best"))

    kept = record_of(made, request_id="req_1", at_us=7)

    assert (kept.request_id, kept.at_us, kept.policy, kept.task, kept.chosen) == (
        "req_1",
        7,
        "auto:best",
        "general",
        "openai/big",
    )
    assert kept.snapshot_id == WORLD.snapshot.id
    assert (kept.why, kept.propensity_ppm) == ("rule", 1_000_000)
    assert kept.quality_ppm == round(made.slate.qualities[made.order[0]] * 1e6)
    assert kept.cost_nusd == made.costs[made.order[0]]
    assert (kept.output_tokens, kept.ttft_us, kept.latency_us) == (400, 500_000, 4_500_000)


def test_the_candidates_are_kept_the_chosen_one_and_the_front_first() -> None:
    kept = record_of(decided(Policy(rule="cheapest")), request_id="req_1", at_us=7)

    choices = choices_of(kept)

    assert [it.name for it in choices] == ["openai/small", "openai/mid", "openai/big", "openai/worse", "openai/unknown"]
    assert choices[0] == Choice(
        "openai/small", kept.quality_ppm, kept.cost_nusd, kept.output_tokens, kept.ttft_us, kept.latency_us
    )
    assert choices[-1] == Choice("openai/unknown", None, None, 400, None, None)
    assert Choice.__struct_fields__ == CANDIDATE


def test_only_so_many_candidates_are_kept() -> None:
    kept = record_of(decided(Policy(rule="cheapest")), request_id="req_1", at_us=7, candidates_max=2)

    assert [it.name for it in choices_of(kept)] == ["openai/small", "openai/mid"]


def test_features_and_wishes_come_back_as_they_were_and_what_is_usual_takes_no_room() -> None:
    features = replace(ASK, task="coding", needs=("tools",), language="de", stream=True)
    wishes = RouteField(max_cost_nusd=10**9, deny=("x/*",))

    kept = record_of(decide(WORLD, features, Policy(), constraints=wishes), request_id="req_1", at_us=7)

    assert (kept_of(kept).features, kept_of(kept).route) == (features, wishes)
    assert "effort" not in kept.features
    assert len(kept.features) < 300


def test_nothing_of_the_prompt_is_kept() -> None:
    kept = json.loads(record_of(decided(), request_id="req_1", at_us=7).features)

    assert kept.keys() <= {"features", "route"}
    assert kept["features"].keys() <= {
        *("endpoint", "task", "task_confidence", "hinted", "text_bytes", "files", "input_tokens", "output_max", "choices"),
        *("needs", "effort", "service_tier", "language", "turns", "tools", "stream"),
    }


def test_a_drawn_choice_keeps_how_likely_it_was() -> None:
    policy = Policy(rule="best", explore=Explore(fraction=0.5, max_cost_nusd=10**12))
    made = [decide(WORLD, ASK, policy, seed=str(n)) for n in range(40)]

    kept = [record_of(it, request_id="r", at_us=7) for it in made]

    # Three of the front: the rule's own, and two others that share the half.
    assert {(it.why, it.propensity_ppm) for it in kept} == {("rule", 500_000), ("explored", 250_000)}


def test_only_of_a_call_that_was_decided_on_a_decision_is_kept_with_what_its_caller_asked() -> None:
    wishes = RouteField(max_cost_nusd=5)
    keep = decided_calls(lambda _: wishes)
    named, chosen, stood_in = (call("auto", received_us=7) for _ in range(3))
    for it in (chosen, stood_in):
        it.routed.decision = decided(Policy(rule="best", limits=RouteField(min_quality=0.1)))
    stood_in.routed.standing_in = "openai/small"

    kept = [keep(it) for it in (named, chosen, stood_in)]

    assert kept[0] is None
    assert [(it.request_id, it.at_us, it.chosen) for it in kept[1:] if it is not None] == [
        ("req_1", 7, "openai/big"),
        ("req_1", 7, "openai/small"),
    ]
    assert kept[1] is not None
    assert kept_of(kept[1]).route == wishes


def test_who_stood_in_is_kept_instead_of_the_decisions_own_choice() -> None:
    made = decided(Policy(rule="best"))

    other = record_of(made, request_id="r", at_us=7, chosen="openai/small")
    outside = record_of(made, request_id="r", at_us=7, chosen="else/where")

    assert (other.chosen, other.cost_nusd) == ("openai/small", made.costs[made.slate.where["openai/small"]])
    assert (outside.chosen, outside.cost_nusd) == ("else/where", None)


def test_a_request_that_nobody_could_answer_is_kept_without_a_choice() -> None:
    made = decide(WORLD, ASK, Policy(), constraints=RouteField(min_quality=0.99))

    kept = record_of(made, request_id="r", at_us=7)

    assert (kept.chosen, kept.why, kept.quality_ppm, choices_of(kept)) == ("", "nobody", None, ())


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e300, -1e300])
def test_whatever_is_expected_the_row_can_be_written_beside_the_record_of_money(odd: float) -> None:
    made = decided(Policy(rule="best"))
    at = made.order[0]
    made.slate.qualities[at] = made.slate.outputs[at] = made.slate.ttft_ms[at] = odd
    strange = replace(
        made,
        costs=[1 << 80 if place == at else cost for place, cost in enumerate(made.costs)],
        latencies=[odd if place == at else latency for place, latency in enumerate(made.latencies)],
        features=replace(made.features, output_max=None),
        propensity=1.0000001,
    )

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        write(connection, (record_of(strange, request_id="r", at_us=7), record("r")))
        (found,) = routed(connection)

    assert (found.decision.quality_ppm, found.decision.cost_nusd) == (None, None)
    assert found.decision.propensity_ppm == 1_000_000


@pytest.mark.parametrize("text", ["{", "[]", '{"features": {"endpoint": 5}}'])
def test_what_this_release_cannot_read_is_said_to_be_unreadable(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        kept_of(row(features=text))
