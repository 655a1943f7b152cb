"""Who is kept back, for what, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.openai.vendors import VENDORS
from proxy.attempts.breaker import Rules
from proxy.attempts.cooldown import CooldownRules
from proxy.call import Call, Completed, Deployment, Fault, Gate, Reply
from proxy.errors import NoHealthyUpstream, UpstreamAuth, UpstreamRateLimited
from proxy.stages.circuit_breaker import PATIENTS_MAX, Breaking, CircuitBreaker
from tests.proxy.samples import attempt, call, deployment
from tests.proxy.scripted import Watch

A, B = deployment("a/gpt"), deployment("b/gpt")
OTHER = deployment("a/other")
RULES = Breaking(
    circuit=Rules(failures_max=3, open_s=30.0, last_open_s=2.0, jitter=0.0),
    account=Rules(failures_max=1, requests_min=2**31, open_s=60.0, open_max_s=240.0, jitter=0.0),
    cooldown=CooldownRules(),
)


class Ward:
    """A breaker, a watch, and tries that end as they are told to."""

    def __init__(self, breaking: Breaking = RULES, *, others: Sequence[Gate] = ()) -> None:
        self.watch = Watch()
        self.breaker = CircuitBreaker(breaking, others=others, clock_s=self.watch.s, chance=lambda: 0.0)
        self._number = 0

    def tried(self, deployment: Deployment, fault: Fault = "", *, outcome: str = "", **changes: Any) -> bool:
        """Try it, if it may be tried; whether it was."""
        self._number += 1
        asked = call(id=f"req_{self._number}")
        if not self.breaker.enter(asked, 1, deployment):
            return False
        self.end(asked, deployment, fault, outcome=outcome, **changes)
        return True

    def end(self, asked: Call, deployment: Deployment, fault: Fault = "", *, outcome: str = "", **changes: Any) -> None:
        told = attempt(deployment=deployment, fault=fault, outcome=outcome or fault or "ok", **changes)
        self.breaker.observe(asked, told)
        self.breaker.leave(asked, 1, deployment)

    def fail(self, deployment: Deployment, times: int = 3, fault: Fault = "upstream") -> None:
        asked = [call(id=f"together_{self._number}_{number}") for number in range(times)]
        self._number += 1
        for each in asked:
            self.breaker.enter(each, 1, deployment)
        for each in asked:
            self.end(each, deployment, fault)

    async def passed(self, *deployments: Deployment, **changes: Any) -> Call:
        seen: list[Call] = []

        async def service(call: Call, /) -> Reply:
            seen.append(call)
            return Completed(status=200, headers=[], body=b"")

        await self.breaker(call(deployments=deployments, **changes), service)
        return seen[0]


# --- what is held against whom -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["upstream", "timeout"])
async def test_who_keeps_failing_is_left_out(fault: Fault) -> None:
    ward = Ward()
    ward.fail(A, 3, fault)

    assert (await ward.passed(A, B)).deployments == (B,)


@pytest.mark.parametrize("fault", ["", "request", "client", "gateway"])
async def test_what_is_not_its_fault_is_not_held_against_it(fault: Fault) -> None:
    ward = Ward()
    ward.fail(A, 50, fault)

    assert (await ward.passed(A, B)).deployments == (A, B)
    assert ward.breaker.health() == []


async def test_a_deployment_fails_alone_and_its_accounts_other_models_go_on() -> None:
    ward = Ward()
    ward.fail(A)

    assert (await ward.passed(A, OTHER)).deployments == (OTHER,)


async def test_a_refused_key_parks_the_whole_account_at_once() -> None:
    ward = Ward()
    ward.tried(A, "account")

    assert (await ward.passed(A, OTHER, B)).deployments == (B,)


async def test_another_account_of_the_same_provider_is_not_parked() -> None:
    ward = Ward()
    one, two = deployment("a/gpt", account="one"), deployment("a/gpt", account="two")
    ward.tried(one, "account")

    assert (await ward.passed(one, two)).deployments == (two,)


def test_a_parked_account_is_asked_at_most_once_in_each_period() -> None:
    ward = Ward()
    asked = 0

    for _ in range(600):
        asked += ward.tried(A, "account")
        ward.watch.now_s += 1.0

    # At 0, then after 60, 120, 240 (the most) seconds.
    assert asked == 4


async def test_a_rate_limit_is_waited_out_as_long_as_was_asked_for() -> None:
    ward = Ward()
    ward.tried(A, "rate_limit", retry_after_s=2.0)

    during = (await ward.passed(A, B)).deployments
    ward.watch.now_s += 2.0
    after = (await ward.passed(A, B)).deployments

    assert (during, after) == ((B,), (A, B))


def test_nobody_is_asked_inside_of_a_cooldown() -> None:
    ward = Ward()
    ward.tried(A, "rate_limit", retry_after_s=2.0)

    tries = []
    for _ in range(40):
        tries.append(ward.tried(A))
        ward.watch.now_s += 0.1

    assert tries.index(True) == 20


async def test_nothing_is_kept_back_where_it_is_switched_off() -> None:
    ward = Ward(Breaking(enabled=False))
    ward.fail(A, 50)
    ward.tried(A, "account")
    ward.tried(A, "rate_limit", retry_after_s=100.0)

    assert (await ward.passed(A, B)).deployments == (A, B)


# --- back again --------------------------------------------------------------------------------------------------------


def test_of_two_hundred_clients_that_wait_exactly_one_is_let_in() -> None:
    ward = Ward()
    ward.fail(A)
    ward.watch.now_s += 30.0

    entered = [ward.breaker.enter(call(id=f"waiting_{number}"), 1, A) for number in range(200)]

    assert entered.count(True) == 1


def test_a_probe_whose_stream_begins_lets_the_others_in_at_once() -> None:
    ward = Ward()
    ward.fail(A)
    ward.watch.now_s += 30.0
    probe = call(id="probe")
    ward.breaker.enter(probe, 1, A)

    was_probe = ward.breaker.is_probe(probe, 1, A)
    ward.breaker.begun(probe, 1, A, 1000)

    assert was_probe
    assert ward.tried(A)


def test_a_probe_whose_client_leaves_makes_room_for_the_next() -> None:
    ward = Ward()
    ward.fail(A)
    ward.watch.now_s += 30.0
    probe = call(id="probe")
    ward.breaker.enter(probe, 1, A)

    ward.end(probe, A, "client")

    assert [ward.breaker.enter(call(id=name), 1, A) for name in ("next", "after")] == [True, False]


def test_an_account_comes_back_by_one_probe_too() -> None:
    ward = Ward()
    ward.tried(A, "account")
    ward.watch.now_s += 60.0

    entered = [ward.breaker.enter(call(id=f"w{number}"), 1, it) for number, it in enumerate((A, OTHER, A))]

    assert entered == [True, False, False]


def test_who_is_well_again_is_forgotten() -> None:
    ward = Ward()
    ward.fail(A)
    ward.watch.now_s += 30.0
    ward.tried(A)
    ward.watch.now_s += 100.0
    ward.tried(A)

    assert ward.breaker.health() == []


# --- the last one ------------------------------------------------------------------------------------------------------


async def test_the_last_one_goes_on_as_long_as_it_answers_now_and_then() -> None:
    ward = Ward()
    ward.fail(A)

    passed = await ward.passed(A)

    assert (passed.deployments, passed.last_resort) == ((A,), True)
    assert ward.breaker.enter(passed, 1, A)
    assert ward.breaker.refusal(passed, passed.deployments) is None


async def test_the_last_one_is_kept_back_for_a_moment_once_it_is_dead() -> None:
    ward = Ward()
    ward.fail(A, 6)

    passed = await ward.passed(A)
    refusal = ward.breaker.refusal(passed, passed.deployments)
    entered = ward.breaker.enter(passed, 1, A)
    ward.watch.now_s += 2.0
    probes = [ward.breaker.enter(passed, number, A) for number in range(1, 6)]

    assert isinstance(refusal, NoHealthyUpstream)
    assert (refusal.retry_after_s, refusal.should_retry) == (2.0, False)
    assert (entered, probes) == (False, [True, False, False, False, False])


async def test_the_last_one_is_kept_back_as_any_other_where_that_is_said() -> None:
    ward = Ward(Breaking(never_last=False, circuit=RULES.circuit))
    ward.fail(A)

    passed = await ward.passed(A)

    assert not passed.last_resort
    assert not ward.breaker.enter(passed, 1, A)


async def test_a_rate_limit_and_a_refused_key_hold_for_the_last_one_too() -> None:
    limited, parked = Ward(), Ward()
    limited.tried(A, "rate_limit", retry_after_s=7.0)
    parked.tried(A, "account")

    refusals = [ward.breaker.refusal(await ward.passed(A), (A,)) for ward in (limited, parked)]

    assert [type(it) for it in refusals] == [UpstreamRateLimited, UpstreamAuth]
    assert [it and it.retry_after_s for it in refusals] == [7.0, None]


async def test_it_is_the_last_one_too_if_somebody_else_keeps_the_others_back() -> None:
    class Broke(Gate):
        def ready_in_s(self, call: Call, deployment: Deployment, /) -> float:  # noqa: ARG002  # a Gate's
            return 60.0 if deployment == B else 0.0

    ward = Ward(others=[Broke()])
    ward.fail(A)

    passed = await ward.passed(A, B)

    assert (passed.deployments, passed.last_resort) == ((A, B), True)


async def test_it_is_the_last_one_too_if_the_others_do_not_have_the_endpoint() -> None:
    chat_only = deployment("c/gpt", vendor=VENDORS["mistral"])
    ward = Ward()
    ward.fail(A)

    passed = await ward.passed(A, chat_only, endpoint="completions")

    assert (passed.deployments, passed.last_resort) == ((A, chat_only), True)


@pytest.mark.parametrize(
    ("states", "kind"),
    [
        (("limited", "dead"), UpstreamRateLimited),
        (("limited", "parked"), UpstreamRateLimited),
        (("dead", "parked"), NoHealthyUpstream),
        (("parked", "parked"), UpstreamAuth),
    ],
)
async def test_what_passes_soonest_speaks_for_all(states: tuple[str, ...], kind: type[Exception]) -> None:
    ward = Ward()
    for each, state in zip((A, B), states, strict=True):
        if state == "dead":
            ward.fail(each, 6)
        else:
            ward.tried(each, "rate_limit" if state == "limited" else "account", retry_after_s=7.0)

    assert type(ward.breaker.refusal(await ward.passed(A, B), (A, B))) is kind


async def test_whoever_may_be_tried_is_no_reason_to_refuse() -> None:
    ward = Ward()
    ward.fail(A)

    assert ward.breaker.refusal(call(), (A, B)) is None


# --- for operators -----------------------------------------------------------------------------------------------------


def test_what_is_held_against_whom_can_be_seen_and_forgotten() -> None:
    ward = Ward()
    ward.fail(A)
    ward.tried(B, "account")
    ward.tried(OTHER, "rate_limit", retry_after_s=5.0)

    before = [(it.provider, it.model, it.state, it.ready_in_s) for it in ward.breaker.health()]
    forgotten = ward.breaker.reset(lambda key: key[0] == "a")
    after = [(it.provider, it.model, it.state) for it in ward.breaker.health()]

    assert before == [("a", "gpt", "open", 30.0), ("b", "", "open", 60.0), ("a", "other", "cooldown", 5.0)]
    assert forgotten == 2
    assert after == [("b", "", "open")]


def test_a_try_that_ends_after_a_reset_changes_nothing() -> None:
    ward = Ward()
    ward.fail(A)
    ward.watch.now_s += 30.0
    probe = call(id="probe")
    ward.breaker.enter(probe, 1, A)

    ward.breaker.reset(lambda _: True)
    ward.breaker.begun(probe, 1, A, 1000)
    ward.end(probe, A)

    assert ward.breaker.health() == []


def test_what_is_remembered_is_bounded() -> None:
    ward = Ward()

    for number in range(PATIENTS_MAX + 50):
        ward.tried(deployment(f"a/m{number}"), "upstream")

    assert len(ward.breaker.health()) == PATIENTS_MAX


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((A, B, OTHER)),
            st.sampled_from(("", "upstream", "timeout", "account", "rate_limit", "client", "request", "gateway")),
            st.floats(0, 40),
            st.booleans(),
        ),
        max_size=60,
    )
)
async def test_whatever_happens_the_wait_is_bounded_and_one_of_many_gets_through(
    story: list[tuple[Deployment, Fault, float, bool]],
) -> None:
    ward = Ward()
    for each, fault, passed_s, begun in story:
        if begun:
            ward.breaker.begun(call(), 1, each, 1000)
        ward.tried(each, fault)
        ward.watch.now_s += passed_s

    ward.watch.now_s += max([it.ready_in_s for it in ward.breaker.health()], default=0.0)
    passed = await ward.passed(A)

    assert ward.breaker.enter(passed, 1, A)
