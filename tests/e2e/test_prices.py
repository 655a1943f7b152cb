"""What a request costs: by the book, by the operator's own rows, by the provider's own word, or nobody knows."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, "cost": 0.0123456785}
OWN = {"model": "acme/priced", "input_usd_per_mtok": 2, "output_usd_per_mtok": 10,
       "service_tiers": [{"name": "priority", "input_usd_per_mtok": 4}]}  # fmt: skip
NAMES = {"openrouter": ["nobody/knows", "some/model:free"], "acme": ["priced", "unpriced"]}


def answer(model: str, **fields: Any) -> replies.Reply:
    message = {"role": "assistant", "content": "Hello."}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": USAGE}
    return replies.answer(body | fields, usage=USAGE)


def ask(proxy: TollwayProcess, model: str) -> httpx.Response:
    with proxy.client() as client:
        return client.post("/chat/completions", json={"model": model, "messages": [{"role": "user", "content": "Hi"}]})


def charged(proxy: TollwayProcess, model: str) -> tuple[int | None, str]:
    receipt = proxy.receipt(ask(proxy, model).headers["x-request-id"])
    return receipt["cost_nusd"], receipt["price_source"]


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    for name in ("nobody/knows", "some/model:free", "unpriced"):
        shared_upstream.script(name, answer(name))
    shared_upstream.script("priced", answer("priced"), answer("priced", service_tier="priority"))
    with tollway(tmp_path_factory.mktemp("lax"), config(shared_upstream, NAMES, ledger={"prices": [OWN]})) as running:
        yield running


def test_where_no_row_is_known_the_providers_own_charge_counts(proxy: TollwayProcess) -> None:
    assert charged(proxy, "openrouter/nobody/knows") == (12_345_678, "reported by openrouter")


def test_where_a_row_is_known_the_providers_own_charge_does_not_count(proxy: TollwayProcess) -> None:
    assert charged(proxy, "openrouter/some/model:free") == (0, "openrouter: a :free variant")


def test_a_charge_by_a_server_that_is_no_known_vendor_is_not_believed(proxy: TollwayProcess) -> None:
    assert charged(proxy, "acme/unpriced") == (None, "")


def test_ones_own_price_is_charged_by_the_tier_that_the_provider_served(proxy: TollwayProcess) -> None:
    standard, priority = charged(proxy, "acme/priced"), charged(proxy, "acme/priced")

    source = "configuration: acme/priced"
    assert (standard, priority) == ((3_000_000, source), (5_000_000, source))


def test_prices_show_says_what_counts_and_why(proxy: TollwayProcess) -> None:
    shown = proxy.command("prices", "show", "acme/priced", "--config", "config.yaml")

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[:3] == [
        "* acme/priced  configuration: acme/priced",
        "      input $2.00, output $10.00",
        "      priority: input $4.00, output $10.00",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "beta/unheard-of"), "no price is known for 'beta/unheard-of'"),
        (("show", "acme/priced", "--at", "yesterday"), "'yesterday' is no day"),
        (("diff", "--provider", "nobody"), "there is no provider 'nobody'"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(proxy: TollwayProcess, arguments: tuple[str, ...], said: str) -> None:
    shown = proxy.command("prices", *arguments, "--config", "config.yaml")

    assert shown.returncode == 1
    assert said in shown.stderr


def test_prices_diff_names_the_model_the_price_and_both_lists(proxy: TollwayProcess) -> None:
    shown = proxy.command("prices", "diff", "--provider", "mistral", "--at", "2026-11-22")

    assert shown.returncode == 0, shown.stderr
    assert all(
        line.startswith("mistral/") and "litellm" in line and "genai-prices" in line for line in shown.stdout.splitlines()
    )
    assert "mistral/mistral-large-latest  input" in shown.stdout


def test_strict_refuses_what_has_no_known_price_and_sends_nothing(
    shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared_upstream.script("strictly", answer("strictly"))
    shared_upstream.script("known", answer("known"))
    setting = config(
        shared_upstream,
        {"beta": ["strictly"], "gamma": ["known"]},
        models={"either": {"targets": ["beta/strictly"], "fallbacks": ["gamma/known"]}},
        ledger={"unknown_price": "strict", "prices": [OWN | {"model": "gamma/known", "service_tiers": []}]},
    )
    with tollway(tmp_path_factory.mktemp("strict"), setting) as proxy:
        refused, known, either = ask(proxy, "beta/strictly"), ask(proxy, "gamma/known"), ask(proxy, "either")

        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "price_unknown")
        assert (known.status_code, either.status_code) == (200, 200)
        assert either.headers["x-tollway-provider"] == "gamma"
        assert shared_upstream.of("strictly") == []
