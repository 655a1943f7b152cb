"""What is known of each, by what is published."""

from __future__ import annotations

import pytest

from providers.provider import Traits
from proxy.routing.field import bits, resolved
from proxy.routing.live import NOTHING
from tests.proxy.routing.worlds import NOW_US, RESOLVER, Known, field_of

DAY_US = 86_400_000_000


def test_a_task_of_its_own_benchmarks_comes_before_what_others_say() -> None:
    field = field_of({"one": Known(score=70), "two": Known(score=30)}, index="coding_index")

    own, borrowed = field.grades("coding", ""), field.grades("math", "")

    assert [it is not None and it.borrowed for it in own] == [False, False]
    assert [it is not None and it.borrowed for it in borrowed] == [True, True]
    assert own[0] is not None
    assert borrowed[0] is not None
    assert own[0].value > borrowed[0].value > 0


def test_what_is_old_is_less_certain() -> None:
    field = field_of({"new": Known(), "old": Known(at_us=NOW_US - 720 * DAY_US), "other": Known(score=20)})

    new, old, _ = field.grades("general", "")

    assert new is not None
    assert old is not None
    assert (new.value, old.value) == (pytest.approx(old.value), pytest.approx(new.value))
    assert old.error > new.error
    assert old.confidence < new.confidence


def test_nothing_is_assumed_of_whom_nobody_measured() -> None:
    field = field_of({"one": Known(score=None), "two": Known()})

    assert field.grades("general", "")[0] is None
    assert field.outlook("general", "", "p50", 1.0, NOTHING).qualities[0] < 0


def test_the_tail_is_taken_from_the_middle_where_nothing_else_is_known() -> None:
    field = field_of({"one": Known(ttft_ms=500, tokens_per_s=100)})

    assert [field.prior_speed(0, percentile) for percentile in ("p50", "p90")] == [(500, 10.0), (1_000, 15.0)]


def test_an_outlook_is_made_once_for_what_is_measured() -> None:
    field = field_of({"one": Known()})

    first, second = (field.outlook("general", "", "p50", 1.0, NOTHING) for _ in range(2))

    assert first is second


def test_a_host_of_ones_own_may_serve_what_the_ledger_knows() -> None:
    field = field_of({"gpt-5": Known()})

    found = [resolved(RESOLVER, field.snapshot, provider, "gpt-5") for provider in ("my-vllm", "openai")]

    assert [it.model if it else None for it in found] == ["openai/gpt-5", "openai/gpt-5"]


def test_what_is_no_capability_has_no_bit() -> None:
    assert bits(("tools", "structured_output", "nonsense")) == 3


def test_what_a_server_says_of_its_own_model_goes_before_what_is_said_of_the_model_elsewhere() -> None:
    known = Known(window_tokens=200_000, capabilities=("tools", "structured_output"), modalities_in=("text", "image"))
    served = Traits(context_tokens=4_096, can=frozenset({"chat", "thinking"}))

    alone, told = (field_of({"gpt-5": known}, traits=it).offers[0] for it in (None, {"gpt-5": served}))

    assert alone.can & bits(("tools", "vision", "reasoning")) == bits(("tools", "vision"))
    assert told.can & bits(("tools", "vision", "reasoning", "structured_output")) == bits(("reasoning", "structured_output"))
    assert (alone.window_tokens, told.window_tokens) == (200_000, 4_096)


def test_a_model_that_makes_vectors_alone_writes_nothing() -> None:
    vectors = {"gpt-5": Traits(can=frozenset({"embedding"}))}

    assert not field_of({"gpt-5": Known()}, traits=vectors).offers[0].writes


def test_a_server_that_says_nothing_leaves_it_to_others() -> None:
    known = Known(window_tokens=8_192, capabilities=("tools",))

    (offer,) = field_of({"gpt-5": known}, traits={"gpt-5": Traits()}).offers

    assert offer.can & bits(("tools",))
    assert (offer.window_tokens, offer.writes) == (8_192, True)
