"""Every usage object of the oracle costs the same by our book, or a price row explains why not."""

from collections import Counter

import pytest

from tests.oracle.oracle import Case, cases, figure, listed

EXPLAINED_MAX_PERCENT = 5


@pytest.fixture(scope="module")
def found() -> list[Case]:
    return list(cases())


def test_every_case_costs_what_the_oracle_says_or_is_explained(found: list[Case], capsys: pytest.CaptureFixture[str]) -> None:
    differing = Counter(case for case in found if case.ours_nusd != case.oracle_nusd)
    explained = Counter(difference.case for difference in listed())
    with capsys.disabled():
        print(f"\n{figure(found)}")

    assert differing == explained


def test_few_cases_need_an_explanation_and_each_names_a_row_and_a_reason(found: list[Case]) -> None:
    explained = listed()

    assert len(explained) * 100 <= len(found) * EXPLAINED_MAX_PERCENT
    assert [it.case for it in explained if not it.case.row or it.case.ours_nusd is None or len(it.why) < 40] == []


def test_the_oracle_is_whole(found: list[Case]) -> None:
    providers = Counter(case.provider for case in found)

    assert len(found) == 1700
    assert {"anthropic", "aws", "azure", "google", "groq", "mistral", "openai", "openrouter"} <= set(providers)
