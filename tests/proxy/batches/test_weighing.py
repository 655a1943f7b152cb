"""What a batch asks for, and may cost at most."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.records import Bounds, ContextTier, Price, Rates, ServiceTier
from proxy.api.gate import admit
from proxy.batches.weighing import MODELS_MAX, Weighed, Weighing, at_batch
from proxy.errors import InvalidRequest
from proxy.metering.worst_case import Assumptions, WorstCases
from tests.proxy import samples

BATCH = Rates(input_nusd_per_mtok=500_000, output_nusd_per_mtok=4_000_000)
PRICE = Price(
    source="a list",
    input_nusd_per_mtok=1_000_000,
    output_nusd_per_mtok=8_000_000,
    service_tiers=(ServiceTier(name="batch", rates=BATCH),),
)


class Prices:
    def price(self, provider: str, model: str, _at_us: int | None = None, /) -> Price | None:
        return PRICE if (provider, model) == ("acme", "gpt") else None


def line(**body: Any) -> bytes:
    said = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10, **body}
    return json.dumps({"custom_id": "1", "body": {k: v for k, v in said.items() if v is not None}}).encode() + b"\n"


def weigh(*lines: bytes, strict: bool = True, output_tokens: int | None = None) -> Weighed:
    prices = Prices()
    weighing = Weighing(
        samples.upstream(),
        "chat/completions" if strict else None,
        worst_cases=WorstCases(prices, bounds=lambda *_: Bounds(output_tokens=output_tokens), assumptions=Assumptions()),
        prices=prices,
        admit=admit,
        at_us=1,
    )
    for it in lines:
        weighing.feed(it)
    return weighing.end()


def size(made: bytes) -> int:
    return len(json.dumps(json.loads(made)["body"]))


def test_the_worst_case_is_the_sum_of_its_requests_at_the_batch_price() -> None:
    made = line()

    weighed = weigh(made, made)

    nusd = 2 * ((size(made) + 1) // 2 * 500_000 + 10 * 4_000_000) // 1_000_000
    assert weighed.requests == 2
    assert abs(weighed.worst.reserve[0] - nusd) <= 2
    assert weighed.worst.reserve[1:] == (2 * ((size(made) + 1) // 2 + 10), 1)
    assert weighed.worst.most[1] == 2 * (size(made) + 10)


def test_a_request_without_a_bound_counts_with_all_that_its_model_can_give() -> None:
    made = line(max_tokens=None)

    assert weigh(made, output_tokens=16_000).worst.reserve[1] == size(made) + 16_000


def test_models_and_files_are_told() -> None:
    part = {"type": "file", "file": {"file_id": "file-9"}}
    weighed = weigh(line(), line(model="other", messages=[{"role": "user", "content": [part]}]))

    assert (weighed.models, weighed.unpriced, weighed.files) == (("gpt", "other"), ("other",), frozenset({"file-9"}))


@pytest.mark.parametrize(
    "broken",
    [
        b"{\n",
        b"[]\n",
        b'{"custom_id": "1"}\n',
        line(model=None),
        line(max_tokens="x"),
        b'{"body":{"model":"gpt","model":"x"}}\n',
    ],
)
def test_what_cannot_be_read_is_refused_only_where_it_matters(broken: bytes) -> None:
    with pytest.raises(InvalidRequest, match="line 2"):
        weigh(line(), broken)

    assert weigh(line(), broken, strict=False).models == ("gpt",)


def test_there_is_an_end_to_models() -> None:
    lines = [line(model=f"m{number}") for number in range(MODELS_MAX + 1)]

    with pytest.raises(InvalidRequest, match="models"):
        weigh(*lines)
    assert len(weigh(*lines, strict=False).models) == MODELS_MAX


def test_an_empty_file_costs_nothing() -> None:
    assert weigh(b"\n").worst.reserve == (0, 0, 1)


def test_the_batch_rates_are_the_only_ones() -> None:
    tier = ContextTier(above_tokens=5, rates=BATCH)
    found = at_batch(replace(PRICE, service_tiers=(ServiceTier(name="batch", rates=BATCH, context_tiers=(tier,)),)))

    assert (found.input_nusd_per_mtok, found.service_tiers, found.context_tiers) == (500_000, (), (tier,))
    assert at_batch(replace(PRICE, service_tiers=())).input_nusd_per_mtok == 1_000_000
