"""The sum of a batch's answers."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger.prices.cost import cost_nusd
from ledger.records import ContextTier, Price, Rates, ServiceTier, Tokens
from providers.openai.vendors import VENDORS
from proxy.batches.tally import Sum, Tally, mark_of
from tests.proxy import samples

LARGE = Rates(input_nusd_per_mtok=3_000_000, output_nusd_per_mtok=9_000_000)
BATCH = Rates(input_nusd_per_mtok=500_001, output_nusd_per_mtok=4_000_000)
PRICE = Price(
    source="a list",
    input_nusd_per_mtok=1_000_000,
    output_nusd_per_mtok=8_000_000,
    service_tiers=(ServiceTier(name="batch", rates=BATCH, context_tiers=(ContextTier(above_tokens=1000, rates=LARGE),)),),
)


class Prices:
    def price(self, provider: str, model: str, _at_us: int | None = None, /) -> Price | None:
        return PRICE if (provider, model) == ("acme", "gpt") else None


def line(tokens_in: int = 10, tokens_out: int = 2, model: str = "gpt", status: int = 200, **usage: Any) -> bytes:
    said = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, **usage}
    body = {"object": "chat.completion", "model": model, "usage": said}
    return json.dumps({"custom_id": "1", "response": {"status_code": status, "body": body}}).encode() + b"\n"


def tally(*pieces: bytes, models: tuple[str, ...] = ()) -> tuple[tuple[Sum, ...], int]:
    made = Tally(samples.upstream(), "chat/completions", models=models, prices=Prices(), at_us=1)
    for piece in pieces:
        made.feed(piece)
    return made.end(), made.unread


def test_answers_are_summed_and_rounded_once() -> None:
    ((found,), unread) = tally(line(1, 0), line(1, 0), line(1, 0))

    assert (found.tokens, found.answers, unread) == (Tokens(input_uncached=3), 3, 0)
    # Three times 0.500001 nano-dollars: rounded one by one it would be 3.
    assert found.cost_nusd == 2


def test_each_answer_is_in_the_tier_of_its_own_size() -> None:
    ((found,), _) = tally(line(900, 1), line(900, 1), line(1001, 1))

    small = cost_nusd(
        Price(source="", input_nusd_per_mtok=500_001, output_nusd_per_mtok=4_000_000),
        Tokens(input_uncached=1800, output_text=2),
    )
    assert found.cost_nusd == small + (1001 * 3 + 9)


def test_cached_and_reasoned_tokens_are_in_their_buckets() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 1}}
    ((found,), _) = tally(line(10, 2, **details))

    assert found.tokens == Tokens(input_uncached=6, cache_read=4, output_text=1, reasoning=1)


def test_what_failed_costs_nothing() -> None:
    expired = b'{"custom_id":"2","response":null,"error":{"code":"batch_expired"}}\n'

    assert tally(line(status=400), line(status=500), expired) == ((), 0)


def test_what_cannot_be_read_is_counted() -> None:
    ((found,), unread) = tally(b"{\n", line(), b'{"response":{"status_code":200,"body":[]}}\n', b"[1]")

    assert (found.answers, unread) == (1, 3)


def test_an_answer_without_usage_is_guessed() -> None:
    ((found,), _) = tally(b'{"response":{"status_code":200,"body":{"model":"gpt","choices":[]}}}\n', line())

    assert (found.answers, found.unmetered, found.tokens.output_text > 2) == (2, 1, True)


def test_a_dated_name_is_priced_as_what_was_asked_for() -> None:
    (found, _) = tally(line(model="gpt-2026-01-01"), line(model="other-1"), models=("gpt", "other"))

    assert [(it.model, it.answered_model, it.cost_nusd is None) for it in found] == [
        ("gpt", "gpt-2026-01-01", False),
        ("other", "other-1", True),
    ]


@given(st.lists(st.integers(1, 400)))
def test_any_split_gives_the_same_sum(cuts: list[int]) -> None:
    data = b"".join((line(7, 1), b"{}\n", line(1001, 3), line(2, 2, "other")))
    pieces = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]

    assert tally(*pieces, data) == tally(b"".join(pieces) + data)


def test_results_of_messages_are_read_and_told_from_anothers() -> None:
    usage = {"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 4, "service_tier": "batch"}
    message = {"id": "msg_1", "type": "message", "model": "gpt", "usage": usage}
    rows = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": message}},
        {"custom_id": "b", "result": {"type": "errored", "error": {}}},
    ]
    upstream = samples.upstream(vendor=VENDORS["anthropic"])

    made = Tally(upstream, "messages", models=(), prices=Prices(), at_us=1)
    made.feed(b"".join(json.dumps(it).encode() + b"\n" for it in reversed(rows)))
    (found,) = made.end()

    assert (found.tokens, found.answers, made.unread) == (Tokens(input_uncached=10, cache_read=4, output_text=2), 1, 0)
    assert made.mark == mark_of(["a", "b"]) != mark_of(["a", "c"])


def test_what_an_answer_took_besides_is_in_the_sum_and_is_no_answer() -> None:
    besides = [{"type": "compaction", "input_tokens": 100, "output_tokens": 7}, {"type": "message", "input_tokens": 10}]
    message = {"id": "msg_1", "model": "gpt", "usage": {"input_tokens": 10, "output_tokens": 2, "iterations": besides}}
    row = {"custom_id": "a", "result": {"type": "succeeded", "message": message}}

    made = Tally(samples.upstream(vendor=VENDORS["anthropic"]), "messages", models=(), prices=Prices(), at_us=1)
    made.feed(json.dumps(row).encode() + b"\n")
    (found,) = made.end()

    assert (found.tokens, found.answers) == (Tokens(input_uncached=110, output_text=9), 1)
