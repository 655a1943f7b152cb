from __future__ import annotations

import pytest

from ledger.catalogue.metrics import METRICS
from ledger.live.outcomes import HALF_LIVES_S
from proxy.learning.opinions import ACCEPTED, LABELS, PASSED, About, Opinion, about, compared, is_same, opined
from tests.ledger.samples import decision, feedback, record

IT = About(request_id="req_1", offer="openai/gpt-4o", task="coding", policy="auto")


def test_an_opinion_is_about_who_answered_and_what_kind_of_task_it_was() -> None:
    assert about(record(), decision()) == IT
    assert about(record(), None) == About(request_id="req_1", offer="openai/gpt-4o", task="", policy="")


def test_an_opinion_of_a_kept_answer_is_about_nobody() -> None:
    assert about(record(provider="", upstream_model=""), decision()).offer == ""


def test_an_opinion_is_one_row() -> None:
    said = Opinion(source="user", score_ppm=700_000, comment="fine")

    row = opined(IT, said, key_id="key_1", at_us=3_000_000)

    assert row == feedback(score_ppm=700_000, comment="fine")


def test_what_is_judged_counts_for_another_metric_than_what_is_liked() -> None:
    rows = [opined(IT, Opinion(source="x", score_ppm=0, judged=judged), key_id="k", at_us=1) for judged in (False, True)]

    assert [row.metric for row in rows] == [ACCEPTED, PASSED]


def test_a_comparison_is_two_rows_of_half_the_weight_that_name_each_other() -> None:
    other = About(request_id="req_2", offer="acme/gpt", task="coding", policy="auto")

    won, lost = compared(IT, other, Opinion(source="user", score_ppm=0), key_id="k", at_us=1)

    assert (won.request_id, won.other_id, won.offer, won.score_ppm) == ("req_1", "req_2", "openai/gpt-4o", 1_000_000)
    assert (lost.request_id, lost.other_id, lost.offer, lost.score_ppm) == ("req_2", "req_1", "acme/gpt", 0)
    assert won.weight_ppm == lost.weight_ppm == 500_000


def test_the_same_is_the_same_whatever_is_said_besides() -> None:
    assert is_same(feedback(), feedback(comment="again", at_us=9))
    assert not is_same(feedback(), feedback(score_ppm=0))
    assert not is_same(feedback(), feedback(metric=PASSED))


@pytest.mark.parametrize("label", LABELS)
def test_every_label_counts_for_a_metric_of_the_catalogue(label: str) -> None:
    metric, score_ppm = LABELS[label]

    assert metric in METRICS
    assert metric in HALF_LIVES_S
    assert score_ppm in (0, 1_000_000)
