"""A decision, told."""

from __future__ import annotations

import msgspec

from proxy.call import RouteField
from proxy.routing.policy import POLICIES, Policy
from proxy.routing.receipt import Receipt, reasons, told
from proxy.routing.router import decide
from tests.proxy.routing.worlds import ASK, NOW_US, Known, field_of

FIELD = field_of(
    {
        "small": Known(score=40, input_usd=0.1, output_usd=0.4),
        "large": Known(score=60, input_usd=10, output_usd=40),
        "beaten": Known(score=39, input_usd=12, output_usd=48, tokens_per_s=10),
        "unknown": Known(score=None, input_usd=None, ttft_ms=None, tokens_per_s=None),
    }
)


def test_every_number_says_where_it_is_from() -> None:
    large = told(decide(FIELD, ASK, POLICIES["auto:best"])).candidates[0]

    assert (large.name, large.subject, large.place, large.on_front) == ("openai/large", "openai/large", 1, True)
    assert (large.quality.source, large.quality.at_us is not None) == ("artificial_analysis", True)
    assert (large.cost_nusd.value, large.cost_nusd.source) == (26_000_000, "a list")
    assert (large.output_tokens.value, large.output_tokens.source) == (400, "assumed")
    assert (large.ttft_ms.value, large.ttft_ms.source) == (500, "artificial_analysis")
    assert (large.ttft_ms.at_us or 0) <= NOW_US


def test_every_loser_says_why() -> None:
    receipt = told(decide(FIELD, ASK, POLICIES["auto:best"]))

    assert {it.name: it.reason for it in receipt.candidates} == {
        "openai/large": "",
        "openai/small": "nobody beats it, but the policy takes openai/large: that is better; this is cheaper",
        "openai/beaten": "openai/large beats it: better, cheaper and faster",
        "openai/unknown": "too little is known of it",
    }


def test_a_limit_that_was_broken_is_the_reason() -> None:
    decision = decide(FIELD, ASK, POLICIES["auto:best"], constraints=RouteField(max_cost_nusd=1_000, deny=("*/small",)))

    receipt = told(decision)

    assert (receipt.chosen, receipt.why) == ("", "nobody can answer within what is asked")
    assert {it.name: it.reason for it in reasons(decision)} == {
        "openai/beaten": "it would cost $0.031200, more than $0.000001",
        "openai/large": "it would cost $0.026000, more than $0.000001",
        "openai/small": "the request denies it",
        "openai/unknown": "its price is unknown",
    }


def test_an_abstention_names_the_default() -> None:
    field = field_of({"one": Known(score=None)})

    receipt = told(decide(field, ASK, Policy(default="smart")))

    assert receipt.abstained
    assert receipt.why == "too little is known of everybody who can answer, so 'smart' does, as the policy says"


def test_it_can_be_written_down_and_read_again() -> None:
    receipt = told(decide(FIELD, ASK, POLICIES["auto"]))

    assert msgspec.json.decode(msgspec.json.encode(receipt), type=Receipt) == receipt
