"""Message batches and files through a running gateway, with Anthropic's own SDK: whose they are, and what they cost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import yaml
from anthropic._models import FinalRequestOptions

from tests.e2e.test_batches import PATIENCE_S, bookings, budget_of, limit, until
from tests.e2e.test_files import another_key
from tests.fakes.message_upstream import CALLER, MessageUpstream, accounts
from tests.process import Setting, TollwayProcess, tollway

INPUT_NUSD, OUTPUT_NUSD, READ_NUSD, WRITE_NUSD = 3_000, 15_000, 300, 3_750
"""What a token costs outside of a batch; in one it is half."""


def price(model: str) -> dict[str, Any]:
    return {
        "model": f"anthropic/{model}",
        "input_usd_per_mtok": INPUT_NUSD / 1000,
        "output_usd_per_mtok": OUTPUT_NUSD / 1000,
        "cache_read_usd_per_mtok": READ_NUSD / 1000,
        "cache_write_usd_per_mtok": WRITE_NUSD / 1000,
    }


def setting(upstream: MessageUpstream, **sections: Any) -> Setting:
    """Two accounts of Anthropic's, and two providers that cannot."""
    rows = [
        {"name": name, "api_key": upstream.accounts[f"/{name}/v1"].key, "base_url": upstream.base_url(f"/{name}/v1")}
        for name in ("a", "b")
    ]
    nowhere = {"base_url": "http://127.0.0.1:1/v1", "api_key": "x" * 32}
    said = {
        "providers": {
            "anthropic": {"accounts": rows, "models": ["claude", "haiku", "unpriced"]},
            "plain": {"type": "anthropic", "models": ["p"], **nowhere},
            "other": {"type": "openai", "models": ["gpt"], **nowhere},
        },
        "models": {"smart": {"targets": ["other/gpt", "anthropic/claude"]}},
        "aliases": {"quick": "anthropic/haiku"},
        "batches": {"poll_s": 0.05, "poll_max_s": 0.1},
        "ledger": {"prices": [price("claude"), price("haiku")]},
        **sections,
    }
    return Setting(yaml.safe_dump(said), {})


@pytest.fixture(scope="module")
def upstream() -> Iterator[MessageUpstream]:
    with accounts("a", "b") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: MessageUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with tollway(tmp_path_factory.mktemp("messages"), setting(upstream)) as proxy:
        yield proxy


def sdk(proxy: TollwayProcess, key: str = "") -> anthropic.Anthropic:
    root = proxy.base_url.removesuffix("/v1")
    return anthropic.Anthropic(base_url=root, api_key=key or proxy.api_key, max_retries=0)


@pytest.fixture
def client(proxy: TollwayProcess) -> Iterator[anthropic.Anthropic]:
    with sdk(proxy) as client:
        yield client


def asked(number: int, model: str = "anthropic/claude", usage: str = "10,2", **params: Any) -> dict[str, Any]:
    """One request, and what the upstream counts of it."""
    said = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}], "metadata": {"user_id": usage}}
    return {"custom_id": f"r{number}", "params": {**said, **params}}


def make(client: anthropic.Anthropic, *requests: Any, **options: Any) -> Any:
    return client.messages.batches.create(requests=list(requests), **options)


def refusal(raised: pytest.ExceptionInfo[anthropic.APIStatusError]) -> tuple[int, str]:
    """The status and our code; the body has Anthropic's shape."""
    body: Any = raised.value.body
    assert (body["type"], set(body["error"])) == ("error", {"type", "message"})
    return raised.value.status_code, raised.value.response.headers["x-tollway-error"]


# --- making one, and its answers -----------------------------------------------------------------------------------------


def test_the_sdk_makes_a_batch_and_reads_its_results(client: anthropic.Anthropic, upstream: MessageUpstream) -> None:
    made = make(client, asked(1), asked(2, "quick"), asked(3, usage="errored"))
    with pytest.raises(anthropic.AnthropicError, match="results_url"):
        client.messages.batches.results(made.id)
    upstream.finish(made.id)

    ended = client.messages.batches.retrieve(made.id)
    results = {it.custom_id: it.result for it in client.messages.batches.results(made.id)}

    assert (made.processing_status, made.request_counts.processing) == ("in_progress", 3)
    assert (ended.processing_status, ended.request_counts.succeeded) == ("ended", 2)
    assert ended.results_url == f"/v1/messages/batches/{made.id}/results"
    assert {name: it.type for name, it in results.items()} == {"r1": "succeeded", "r2": "succeeded", "r3": "errored"}
    assert [it["params"]["model"] for it in upstream.requests[made.id]] == ["claude", "haiku", "claude"]


def test_requests_go_on_as_they_came_but_for_the_models_name(proxy: TollwayProcess, upstream: MessageUpstream) -> None:
    odd = (
        '{"requests": [{"custom_id": "a", "custom_id": "b", "params": {"messages": [], "temperature": 1.0, "x": {"model":'
        ' "y"}, "model": "smart", "max_tokens": 10, "cache": {"no-cache": true}}}], "provider": "anthropic"}'
    )

    betas = {"content-type": "application/json", "anthropic-beta": "one-2025,two-2025"}
    with proxy.client() as client:
        answer = client.post("/messages/batches", content=odd, headers=betas)

    assert answer.status_code == 200, answer.text
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    (request,) = upstream.requests[answer.json()["id"]]
    assert request == {
        "custom_id": "b",
        "params": {"messages": [], "temperature": 1.0, "x": {"model": "y"}, "model": "claude", "max_tokens": 10},
    }
    assert "one-2025,two-2025" in upstream.betas("/messages/batches")


def test_nobody_is_sent_where_the_provider_says_its_results_are(proxy: TollwayProcess, upstream: MessageUpstream) -> None:
    with sdk(proxy) as client:
        made = make(client, asked(1))
    upstream.finish(made.id)

    with proxy.client() as plain:
        told = [plain.get(path).text for path in (f"/messages/batches/{made.id}", "/messages/batches?limit=5")]
        ended = plain.get(f"/messages/batches/{made.id}").json()
        results = plain.get(ended["results_url"])
        proxied = plain.get(f"/messages/batches/{made.id}", headers={"x-forwarded-proto": "https"}).json()

    assert all(made.id in it and CALLER not in it for it in told)
    assert ended["results_url"].startswith(f"{proxy.base_url}/messages/batches/")
    assert results.json()["custom_id"] == "r1"
    assert proxied["results_url"] == ended["results_url"].replace("http:", "https:")


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_a_large_batch_goes_on_whole(proxy: TollwayProcess, upstream: MessageUpstream, chunked: bool) -> None:
    requests = [asked(number, system="word " * 1200) for number in range(300)]
    body = json.dumps({"requests": requests}).encode()
    pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))

    with proxy.client() as client:
        answer = client.post("/messages/batches", content=pieces if chunked else body)

    assert answer.status_code == 200, answer.text
    came = upstream.requests[answer.json()["id"]]
    assert came == [{**it, "params": {**it["params"], "model": "claude"}} for it in requests]


def test_batches_are_shared_among_the_accounts(client: anthropic.Anthropic, upstream: MessageUpstream) -> None:
    made = [make(client, asked(1)).id for _ in range(20)]
    pinned = [make(client, asked(1), extra_headers={"x-tollway-provider": "anthropic@b"}).id for _ in range(3)]

    assert {upstream.holder(it) for it in made} == {"/a/v1", "/b/v1"}
    assert {upstream.holder(it) for it in pinned} == {"/b/v1"}


def test_one_that_is_cancelled_is_charged_for_what_it_did(
    proxy: TollwayProcess, client: anthropic.Anthropic, upstream: MessageUpstream
) -> None:
    made = make(client, asked(1, usage="10,2"), asked(2, usage="canceled"))

    cancelled = client.messages.batches.cancel(made.id)
    upstream.finish(made.id)

    assert cancelled.processing_status == "canceling"
    (row,) = bookings(proxy, made.id)
    assert (row["cost_nusd"], row["outcome"]) == ((10 * INPUT_NUSD + 2 * OUTPUT_NUSD) // 2, "ok")


# --- whose ---------------------------------------------------------------------------------------------------------------


def test_a_batch_is_its_makers(proxy: TollwayProcess, upstream: MessageUpstream) -> None:
    with sdk(proxy) as mine, sdk(proxy, another_key(proxy, "stranger")) as theirs:
        made = make(mine, asked(1))
        upstream.finish(made.id)
        before = len(upstream.seen)

        for ask in (theirs.messages.batches.retrieve, theirs.messages.batches.cancel, theirs.messages.batches.delete):
            with pytest.raises(anthropic.NotFoundError) as refused:
                ask(made.id)
            assert refusal(refused) == (404, "not_found")
        with pytest.raises(anthropic.NotFoundError):
            theirs.get(f"/v1/messages/batches/{made.id}/results", cast_to=str)

        assert list(theirs.messages.batches.list()) == []
        assert not [it for it in upstream.seen[before:] if "DELETE" in it or it.endswith("cancel")]
        assert mine.messages.batches.retrieve(made.id).id == made.id


def test_clients_of_each_protocol_see_their_own(proxy: TollwayProcess, upstream: MessageUpstream) -> None:
    key = another_key(proxy, "both")
    with sdk(proxy, key) as client, openai.OpenAI(base_url=proxy.base_url, api_key=key, max_retries=0) as other:
        made = make(client, asked(1))
        file = client.files.upload(file=("a.txt", b"a", "text/plain"))

        assert list(other.batches.list()) == [] == list(other.files.list())
        for ask, name in ((other.batches.retrieve, made.id), (other.files.retrieve, file.id)):
            with pytest.raises(openai.NotFoundError):
                ask(name)


def test_a_list_is_of_what_the_key_made_as_it_is_now(proxy: TollwayProcess, upstream: MessageUpstream) -> None:
    with sdk(proxy, another_key(proxy, "lists")) as client:
        made = [make(client, asked(1)).id for _ in range(5)][::-1]
        upstream.finish(made[0])

        pages = [[it.id for it in page.data] for page in client.messages.batches.list(limit=2).iter_pages()]
        before = client.messages.batches.list(limit=2, before_id=made[4])
        first = client.messages.batches.list(limit=1).data[0]
        with pytest.raises(anthropic.NotFoundError):
            client.messages.batches.list(after_id="msgbatch_nobodys")

    assert pages == [made[0:2], made[2:4], made[4:]]
    assert ([it.id for it in before.data], before.has_more) == (made[2:4], True)
    assert (first.processing_status, first.results_url is not None) == ("ended", True)


def test_one_that_is_deleted_was_metered_before(
    proxy: TollwayProcess, client: anthropic.Anthropic, upstream: MessageUpstream
) -> None:
    made = make(client, asked(1))
    with pytest.raises(anthropic.BadRequestError) as running:
        client.messages.batches.delete(made.id)
    with upstream.held():
        upstream.finish(made.id)
        upstream.fail(f"GET /messages/batches/{made.id}/results", *[(500, {})] * 1000)

    with pytest.raises(anthropic.ConflictError) as early:
        client.messages.batches.delete(made.id)
    upstream.failing.clear()
    deleted = until(lambda: _deleted(client, made.id), "deleted")

    assert refusal(running) == (400, "invalid_value")
    assert refusal(early) == (409, "batch_not_metered")
    assert deleted == "message_batch_deleted"
    assert bookings(proxy, made.id)[0]["quality"] == "exact"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made.id)


def _deleted(client: anthropic.Anthropic, batch_id: str) -> str:
    try:
        return client.messages.batches.delete(batch_id).type
    except anthropic.ConflictError:
        return ""


# --- what it costs -------------------------------------------------------------------------------------------------------


def test_a_batch_is_metered_once_at_half_the_price(
    proxy: TollwayProcess, client: anthropic.Anthropic, upstream: MessageUpstream
) -> None:
    requests = (asked(1, usage="1000,7,500,300"), asked(2, usage="13,5"), asked(3, usage="expired"), asked(4, usage="errored"))
    made = make(client, *requests, extra_headers={"x-tollway-tags": "t"})
    upstream.finish(made.id)

    (row,) = bookings(proxy, made.id)

    counts = [row[name] for name in ("input_uncached", "output_text", "cache_read", "cache_write")]
    assert counts == [1013, 12, 500, 300]
    assert row["cost_nusd"] == (1013 * INPUT_NUSD + 12 * OUTPUT_NUSD + 500 * READ_NUSD + 300 * WRITE_NUSD) // 2
    assert (row["model"], row["quality"], row["outcome"], row["tags"]) == ("claude", "exact", "ok", '["t"]')
    receipt = proxy.receipt(row["request_id"])
    assert (receipt["cost_nusd"], receipt["attempts"][0]["upstream_request_id"]) == (row["cost_nusd"], made.id)
    assert proxy.open_reservations() == []
    assert proxy.command("ledger", "verify", "--config", "config.yaml").returncode == 0


def test_each_model_has_a_record_of_its_own(
    proxy: TollwayProcess, client: anthropic.Anthropic, upstream: MessageUpstream
) -> None:
    made = make(client, asked(1), asked(2, "quick", "20,4"), asked(3, "anthropic/unpriced"))
    upstream.finish(made.id)

    rows = {row["model"]: row["cost_nusd"] for row in bookings(proxy, made.id, 3)}

    one = (10 * INPUT_NUSD + 2 * OUTPUT_NUSD) // 2
    assert rows == {"claude": one, "haiku": 2 * one, "unpriced": None}


@pytest.mark.parametrize("kind", ["expired", "canceled", "errored"])
def test_what_was_never_answered_costs_nothing(
    proxy: TollwayProcess, client: anthropic.Anthropic, upstream: MessageUpstream, kind: str
) -> None:
    made = make(client, asked(1, usage=kind))
    upstream.finish(made.id)

    (row,) = bookings(proxy, made.id)

    words = {"expired": "batch_expired", "canceled": "batch_cancelled", "errored": "batch_failed"}
    assert (row["cost_nusd"], row["outcome"]) == (0, words[kind])


# --- what a key may do ---------------------------------------------------------------------------------------------------


def test_a_key_gets_no_models_and_endpoints_by_a_batch_that_it_has_not(proxy: TollwayProcess) -> None:
    some = another_key(proxy, "some", models=["quick"])
    vectors = another_key(proxy, "vectors", endpoints=["files", "batches", "embeddings"])
    with sdk(proxy, some) as client, sdk(proxy, vectors) as narrow:
        assert make(client, asked(1, "quick")).processing_status == "in_progress"

        with pytest.raises(anthropic.PermissionDeniedError) as refused:
            make(client, asked(1, "quick"), asked(2))
        with pytest.raises(anthropic.PermissionDeniedError):
            make(narrow, asked(1))

    assert "'anthropic/claude'" in refused.value.message


@pytest.mark.parametrize(
    ("requests", "status", "code"),
    [
        ([asked(1, "nobody")], 404, "model_not_found"),
        ([asked(1, "other/gpt")], 400, "unsupported_endpoint"),
        ([asked(1, "plain/p")], 400, "unsupported_endpoint"),
        ([asked(1, "auto")], 400, "unsupported_endpoint"),
        ([], 400, "invalid_value"),
        ([{"custom_id": "a"}], 400, "invalid_value"),
        ([{"custom_id": "", "params": {}}], 400, "invalid_value"),
        ([{"custom_id": "a", "params": {"messages": []}}], 400, "invalid_value"),
        ([asked(1, api_base="http://x")], 400, "invalid_value"),
        ("no", 400, "invalid_value"),
    ],
)
def test_what_no_account_can_be_asked_is_not_asked(
    client: anthropic.Anthropic, upstream: MessageUpstream, requests: Any, status: int, code: str
) -> None:
    before = len(upstream.seen)

    with pytest.raises(anthropic.APIStatusError) as refused:
        client.messages.batches.create(requests=requests)

    assert refusal(refused) == (status, code)
    assert not [it for it in upstream.seen[before:] if it.startswith("POST")]


def test_a_strangers_batch_is_not_read(proxy: TollwayProcess) -> None:
    with sdk(proxy, "tw-nobody") as stranger, pytest.raises(anthropic.AuthenticationError) as refused:
        make(stranger, asked(1))

    assert refusal(refused) == (401, "invalid_api_key")


# --- budgets -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(upstream: MessageUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    bounds = {"poll_s": 0.05, "poll_max_s": 0.1, "max_bytes": 4096}
    with tollway(tmp_path_factory.mktemp("strict"), setting(upstream, batches=bounds)) as proxy:
        limit(proxy)
        yield proxy


def test_a_batch_reserves_its_worst_case_and_is_charged_what_it_took(strict: TollwayProcess, upstream: MessageUpstream) -> None:
    before = budget_of(strict)
    with sdk(strict) as client:
        made = make(client, asked(1, usage="100,3"), asked(2, usage="100,3"))
        reserved = budget_of(strict)
        upstream.finish(made.id)
        (row,) = bookings(strict, made.id)
        after = until(lambda: (it := budget_of(strict))["reserved"] == 0 and it, "let go of")

    # A token of what goes in may be written into a cache, which is dearer.
    size = len(json.dumps({**asked(1, "claude", "100,3")["params"]}, separators=(",", ":")))
    assert reserved["reserved"] - before["reserved"] == 2 * (-(-size // 2) * WRITE_NUSD // 2 + 10 * OUTPUT_NUSD // 2)
    assert after["settled"] - before["settled"] == row["cost_nusd"] == 200 * INPUT_NUSD // 2 + 6 * OUTPUT_NUSD // 2


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (asked(1, max_tokens=1_000_000), 429, "budget_exceeded"),
        (asked(1, "anthropic/unpriced"), 400, "price_unknown"),
    ],
)
def test_a_batch_that_a_budget_has_no_room_for_is_not_made(
    strict: TollwayProcess, upstream: MessageUpstream, request_: Any, status: int, code: str
) -> None:
    before = len(upstream.seen)

    with sdk(strict) as client, pytest.raises(anthropic.APIStatusError) as refused:
        make(client, request_)

    assert refusal(refused) == (status, code)
    assert not [it for it in upstream.seen[before:] if it.startswith("POST")]
    assert budget_of(strict)["reserved"] == 0


def test_a_batch_that_the_upstream_refuses_holds_nothing(strict: TollwayProcess, upstream: MessageUpstream) -> None:
    upstream.fail("POST /messages/batches", (400, {}))

    with sdk(strict) as client, pytest.raises(anthropic.BadRequestError) as refused:
        make(client, asked(1))

    assert refused.value.message.endswith("scripted") or "scripted" in str(refused.value)
    assert budget_of(strict)["reserved"] == 0


def test_one_that_is_too_large_is_refused_before_it_is_read(strict: TollwayProcess) -> None:
    with sdk(strict) as client, pytest.raises(anthropic.APIStatusError) as refused:
        make(client, asked(1, system="x" * 5000))
    with strict.client() as plain:
        chunked = plain.post("/messages/batches", content=iter([b"{", b" " * 5000, b"}"]))

    assert refusal(refused) == (413, "request_too_large")
    assert (chunked.status_code, chunked.json()["error"]["type"]) == (413, "request_too_large")


# --- crashes -------------------------------------------------------------------------------------------------------------


@contextmanager
def _asking(proxy: TollwayProcess, *requests: Any) -> Iterator[None]:
    """A client waits for the answer to its request for a batch, which never comes."""

    def ask() -> None:
        with suppress(httpx.HTTPError), proxy.client() as client:
            client.post("/messages/batches", json={"requests": list(requests)})

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)


def test_batches_are_metered_over_a_kill_also_one_whose_answer_never_came(upstream: MessageUpstream, tmp_path: Path) -> None:
    said = yaml.safe_load(setting(upstream).text)
    said["providers"]["anthropic"]["accounts"] = said["providers"]["anthropic"]["accounts"][:1]
    account = upstream.accounts["/a/v1"]
    with tollway(tmp_path / "home", Setting(yaml.safe_dump(said), {})) as proxy:
        limit(proxy)
        with sdk(proxy) as client:
            made = make(client, asked(1))
            file = client.files.upload(file=("a.txt", b"a", "text/plain"))
        upstream.answers_batches.clear()
        upstream.asked.clear()
        try:
            with _asking(proxy, asked(7, usage="70,1"), asked(8)):
                assert upstream.asked.wait(PATIENCE_S)
                proxy.kill()
        finally:
            upstream.answers_batches.set()
        lost = next(reversed(account.batches))
        # Somebody makes one of as many requests, beside the gateway.
        with httpx.Client(headers={"x-api-key": account.key, "anthropic-version": "2023-06-01"}) as beside:
            body = {"requests": [asked(1, "claude"), asked(2, "claude")]}
            theirs = beside.post(f"{upstream.base_url('/a/v1')}/messages/batches", json=body).json()["id"]
        for name in (made.id, lost, theirs):
            upstream.finish(name)
        proxy.restart()

        rows = [bookings(proxy, name)[0] for name in (made.id, lost)]
        after = until(lambda: (it := budget_of(proxy))["reserved"] == 0 and it, "let go of")
        with sdk(proxy) as client:
            # Whose it is that nobody was told of cannot be known for sure.
            assert [it.id for it in client.messages.batches.list()] == [made.id]
            assert [it.custom_id for it in client.messages.batches.results(made.id)] == ["r1"]
            assert [it.id for it in client.files.list()] == [file.id]
        assert proxy.rows("SELECT 1 FROM requests WHERE attempts LIKE ?", f'%"{theirs}"%') == []

    one = (10 * INPUT_NUSD + 2 * OUTPUT_NUSD) // 2
    assert [(row["cost_nusd"], row["quality"]) for row in rows] == [
        (one, "exact"),
        ((80 * INPUT_NUSD + 3 * OUTPUT_NUSD) // 2, "estimated"),
    ]
    assert after["settled"] == sum(row["cost_nusd"] for row in rows)


# --- files ---------------------------------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_went(client: anthropic.Anthropic, upstream: MessageUpstream) -> None:
    made = client.files.upload(file=("data.txt", b"some\r\n--text", "text/plain"))

    assert (made.filename, made.size_bytes, made.type) == ("data.txt", 12, "file")
    assert client.files.retrieve_metadata(made.id) == made
    assert client.files.download(made.id).read() == b"some\r\n--text"
    assert client.beta.files.retrieve_metadata(made.id, betas=["files-api-2025-04-14"]).id == made.id
    assert "files-api-2025-04-14" in upstream.betas(f"/files/{made.id}")
    assert client.files.delete(made.id).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError) as gone:
        client.files.retrieve_metadata(made.id)
    assert refusal(gone) == (404, "not_found")


def test_a_file_may_say_who_gets_it(client: anthropic.Anthropic, upstream: MessageUpstream) -> None:
    said: Any = ({"extra_body": {"provider": "anthropic@b"}}, {"extra_headers": {"x-tollway-provider": "anthropic@b"}})
    made = [client.files.upload(file=("a.txt", b"a", "text/plain"), **how).id for how in said * 3]

    with pytest.raises(anthropic.BadRequestError) as refused:
        client.files.upload(file=("a.txt", b"a", "text/plain"), extra_headers={"x-tollway-provider": "other"})

    assert {upstream.holder(it) for it in made} == {"/b/v1"}
    assert refusal(refused) == (400, "unsupported_endpoint")


def test_files_are_listed_for_their_maker(proxy: TollwayProcess) -> None:
    key = another_key(proxy, "keeper")
    with sdk(proxy, key) as mine, sdk(proxy, another_key(proxy, "reader")) as theirs:
        made = [mine.files.upload(file=(f"{number}.txt", b"x", "text/plain")).id for number in range(3)][::-1]

        pages = [[it.id for it in page.data] for page in mine.files.list(limit=2).iter_pages()]
        some = mine.files.list(ids=[made[2], "file_nobodys"])
        raw = {
            name: mine.get(f"/v1/files?limit=1&{name}={made[1]}", cast_to=dict[str, Any]) for name in ("after_id", "before_id")
        }
        with pytest.raises(anthropic.NotFoundError):
            theirs.files.download(made[0])

        assert list(theirs.files.list()) == []

    assert pages == [made[:2], made[2:]]
    assert [it.id for it in some.data] == [made[2]]
    assert {name: it["data"][0]["id"] for name, it in raw.items()} == {"after_id": made[2], "before_id": made[0]}


def test_a_message_goes_to_who_holds_its_file(client: anthropic.Anthropic, upstream: MessageUpstream) -> None:
    made = [client.files.upload(file=("a.txt", b"a", "text/plain")).id for _ in range(6)]
    kinds: Any = (lambda name: {"type": "document", "source": {"type": "file", "file_id": name}},
                  lambda name: {"type": "container_upload", "file_id": name})  # fmt: skip

    for name in made:
        for kind in kinds:
            said: Any = [{"role": "user", "content": [kind(name)]}]
            client.messages.create(model="anthropic/claude", max_tokens=9, messages=said)
            assert upstream.holder(make(client, asked(1, messages=said)).id) == upstream.holder(name)


def test_another_keys_file_is_named_in_no_message_and_no_batch(proxy: TollwayProcess, client: anthropic.Anthropic) -> None:
    secret = client.files.upload(file=("a.txt", b"a", "text/plain")).id
    said: Any = [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": secret}}]}]

    with sdk(proxy, another_key(proxy, "spy")) as theirs:
        for ask in (
            lambda: theirs.messages.create(model="anthropic/claude", max_tokens=9, messages=said),
            lambda: make(theirs, asked(1, messages=said)),
        ):
            with pytest.raises(anthropic.BadRequestError) as refused:
                ask()
            assert refusal(refused) == (400, "file_not_found")


def test_a_request_about_what_is_kept_has_one_record(proxy: TollwayProcess, client: anthropic.Anthropic) -> None:
    told = client.files.with_raw_response.upload(file=("a.txt", b"a", "text/plain"))

    receipt = proxy.receipt(told.headers["request-id"])

    assert (receipt["endpoint"], receipt["cost_nusd"], receipt["attempts"][0]["provider"]) == ("files", 0, "anthropic")


def test_what_can_be_asked_is_described(proxy: TollwayProcess) -> None:
    with proxy.client() as client:
        paths = client.get(proxy.base_url.replace("/v1", "/openapi.json")).json()["paths"]

    found = {path: set(rows) for path, rows in paths.items() if path.startswith("/v1/messages/batches")}
    one = "/v1/messages/batches/{message_batch_id}"
    assert found == {
        "/v1/messages/batches": {"get", "post"},
        one: {"get", "delete"},
        f"{one}/cancel": {"post"},
        f"{one}/results": {"get"},
    }


def test_paths_that_are_none_are_said_in_anthropics_shape(client: anthropic.Anthropic) -> None:
    for method, path, status in (
        ("GET", "/v1/files/a/b/c", 404),
        ("GET", "/v1/messages/batches/a/nothing", 404),
        ("PATCH", "/v1/messages/batches/a", 405),
        ("GET", "/v1/files/..%2Fmodels", 404),
    ):
        with pytest.raises(anthropic.APIStatusError) as refused:
            client.request(cast_to=str, options=FinalRequestOptions(method=method, url=path))
        assert refusal(refused)[0] == status
