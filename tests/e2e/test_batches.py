"""Batches through a running gateway, with OpenAI's own SDK: whose they are, and what they cost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.e2e.test_files import another_key, sdk
from tests.fakes.stored_upstream import StoredUpstream, accounts
from tests.process import Setting, TollwayProcess, tollway

INPUT_NUSD, OUTPUT_NUSD = 500, 4_000
"""What a token costs in a batch; outside of one it is twice as much."""
PATIENCE_S = 30.0
ACCOUNTS = {"/a/v1", "/b/v1"}


def price(model: str, **tier: Any) -> dict[str, Any]:
    batch = {"name": "batch", "input_usd_per_mtok": INPUT_NUSD / 1000, "output_usd_per_mtok": OUTPUT_NUSD / 1000, **tier}
    standard = {"input_usd_per_mtok": INPUT_NUSD / 500, "output_usd_per_mtok": OUTPUT_NUSD / 500}
    return {"model": f"openai/{model}", **standard, "service_tiers": [batch]}


def setting(upstream: StoredUpstream, **sections: Any) -> Setting:
    rows = [
        {"name": name, "api_key": upstream.accounts[f"/{name}/v1"].key, "base_url": upstream.base_url(f"/{name}/v1")}
        for name in ("a", "b")
    ]
    cliff = {"context_tiers": [{"above_tokens": 1000, "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 8.0}]}
    ledger = {"prices": [price("gpt"), price("small"), price("cliff", **cliff)]}
    said = {
        "providers": {"openai": {"accounts": rows, "models": ["gpt", "small", "cliff", "unpriced"]}},
        "batches": {"poll_s": 0.05, "poll_max_s": 0.1},
        "ledger": ledger,
        **sections,
    }
    return Setting(yaml.safe_dump(said), {})


@pytest.fixture(scope="module")
def upstream() -> Iterator[StoredUpstream]:
    with accounts("a", "b") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: StoredUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with tollway(tmp_path_factory.mktemp("batches"), setting(upstream)) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with sdk(proxy) as client:
        yield client


def line(number: int, model: str = "gpt", usage: str = "10,2", **body: Any) -> dict[str, Any]:
    """One request, and what the upstream counts of it."""
    said = {"model": model, "messages": [{"role": "user", "content": "hi"}], "user": usage, "max_tokens": 10, **body}
    return {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": said}


def make(client: openai.OpenAI, *lines: dict[str, Any], **options: Any) -> Any:
    text = b"".join(json.dumps(it).encode() + b"\n" for it in lines)
    file = client.files.create(file=("requests.jsonl", text), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **options)


def until(holds: Callable[[], Any], what: str) -> Any:
    """What it gives as soon as it gives anything."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline_s, f"never {what}"
        time.sleep(0.02)
    return found


def bookings(proxy: TollwayProcess, batch_id: str, count: int = 1) -> list[dict[str, Any]]:
    """The records of a batch's cost, as soon as there are so many."""
    query = "SELECT * FROM requests WHERE endpoint = 'batches' AND provider <> '' AND attempts LIKE ? ORDER BY request_id"

    def found() -> Any:
        rows = proxy.rows(query, f'%"{batch_id}"%')
        return rows if len(rows) >= count else None

    rows: list[dict[str, Any]] = until(found, f"booked: {batch_id}")
    assert len(rows) == count
    return rows


# --- whose ---------------------------------------------------------------------------------------------------------------


def test_a_batch_goes_to_the_account_that_holds_its_requests(client: openai.OpenAI, upstream: StoredUpstream) -> None:
    made: list[Any] = []
    # Chance says where a file goes: that both accounts are met takes a few.
    while len({upstream.holder(it.id) for it in made}) < len(ACCOUNTS) and len(made) < 64:
        made.append(make(client, line(1), metadata={"n": str(len(made))}))

    for it in made:
        assert upstream.holder(it.id) == upstream.holder(it.input_file_id)
        assert client.batches.retrieve(it.id).metadata == it.metadata
    assert {upstream.holder(it.id) for it in made} == ACCOUNTS


def test_a_batch_and_its_files_are_their_makers(proxy: TollwayProcess, upstream: StoredUpstream) -> None:
    with sdk(proxy) as mine, sdk(proxy, another_key(proxy, "stranger")) as theirs:
        made = make(mine, line(1))
        upstream.end(made.id)
        output = until(lambda: mine.batches.retrieve(made.id).output_file_id, "an output")
        asked = len(upstream.seen)

        for ask, name in (
            (theirs.batches.retrieve, made.id),
            (theirs.batches.cancel, made.id),
            (theirs.files.content, output),
            (theirs.files.delete, output),
        ):
            with pytest.raises(openai.NotFoundError):
                ask(name)
        with pytest.raises(openai.NotFoundError):
            theirs.batches.create(input_file_id=made.input_file_id, endpoint="/v1/chat/completions", completion_window="24h")

        assert list(theirs.batches.list()) == []
        bookings(proxy, made.id)
        assert not [it for it in upstream.seen[asked:] if "DELETE" in it or it.endswith("cancel")]
        assert b'"custom_id": "1"' in mine.files.content(output).read()
        assert output in [it.id for it in mine.files.list(purpose="batch_output")]


def test_a_list_is_of_what_the_key_made_as_it_is_now(proxy: TollwayProcess, upstream: StoredUpstream) -> None:
    with sdk(proxy, another_key(proxy, "lists")) as client:
        made = [make(client, line(1)).id for _ in range(3)]
        upstream.end(made[0])

        pages = [[(it.id, it.status) for it in page.data] for page in client.batches.list(limit=2).iter_pages()]

    assert pages == [[(made[2], "validating"), (made[1], "validating")], [(made[0], "completed")]]


# --- what it costs -------------------------------------------------------------------------------------------------------


def test_a_batch_is_metered_once_at_the_batch_price(
    proxy: TollwayProcess, client: openai.OpenAI, upstream: StoredUpstream
) -> None:
    lines = (line(1, usage="1001,7"), line(2, usage="13,5"), line(3, usage="fail"))
    # What LiteLLM's clients send beside it is not for the provider.
    others = {"extra_headers": {"x-tollway-tags": "t"}, "extra_body": {"custom_llm_provider": "openai"}}
    made = make(client, *lines, **others)
    upstream.end(made.id)

    (row,) = bookings(proxy, made.id)

    assert (row["input_uncached"], row["output_text"], row["quality"], row["outcome"]) == (1014, 12, "exact", "ok")
    assert row["cost_nusd"] == 1014 * INPUT_NUSD + 12 * OUTPUT_NUSD
    assert (row["model"], row["upstream_model"], row["tags"]) == ("gpt", "gpt", '["t"]')
    receipt = proxy.receipt(row["request_id"])
    assert (receipt["cost_nusd"], receipt["attempts"][0]["upstream_request_id"]) == (row["cost_nusd"], made.id)
    assert proxy.open_reservations() == []
    assert proxy.command("ledger", "verify", "--config", "config.yaml").returncode == 0


def test_each_model_has_a_record_of_its_own(proxy: TollwayProcess, client: openai.OpenAI, upstream: StoredUpstream) -> None:
    made = make(client, line(1, "gpt", "100,1"), line(2, "small", "10,1"), line(3, "unpriced", "7,7"))
    upstream.end(made.id)

    rows = {row["model"]: row["cost_nusd"] for row in bookings(proxy, made.id, 3)}

    assert rows == {"gpt": 100 * INPUT_NUSD + OUTPUT_NUSD, "small": 10 * INPUT_NUSD + OUTPUT_NUSD, "unpriced": None}


def test_each_answer_is_charged_by_its_own_size(proxy: TollwayProcess, client: openai.OpenAI, upstream: StoredUpstream) -> None:
    made = make(client, line(1, "cliff", "900,1"), line(2, "cliff", "900,1"), line(3, "cliff", "1001,1"))
    upstream.end(made.id)

    (row,) = bookings(proxy, made.id)

    assert row["cost_nusd"] == 1800 * INPUT_NUSD + 2 * OUTPUT_NUSD + 1001 * 1000 + 8000


@pytest.mark.parametrize(("status", "lines"), [("failed", []), ("expired", None), ("cancelled", [])])
def test_what_was_done_by_the_end_is_charged(
    proxy: TollwayProcess, client: openai.OpenAI, upstream: StoredUpstream, status: str, lines: Any
) -> None:
    made = make(client, line(1, usage="10,2"))
    upstream.end(made.id, status=status, lines=lines)

    (row,) = bookings(proxy, made.id)

    charged = 10 * INPUT_NUSD + 2 * OUTPUT_NUSD
    assert (row["cost_nusd"], row["outcome"]) == ((charged, "ok") if lines is None else (0, f"batch_{status}"))


def test_an_answer_that_says_nothing_of_its_usage_is_estimated(
    proxy: TollwayProcess, client: openai.OpenAI, upstream: StoredUpstream
) -> None:
    made = make(client, line(1))
    body = {"id": "c", "object": "chat.completion", "model": "gpt", "choices": []}
    upstream.end(made.id, lines=[{"custom_id": "1", "response": {"status_code": 200, "body": body}}])

    (row,) = bookings(proxy, made.id)

    assert (row["quality"], row["cost_nusd"] > 0) == ("estimated", True)


def test_an_upstream_that_limits_or_fails_is_asked_again(
    proxy: TollwayProcess, client: openai.OpenAI, upstream: StoredUpstream
) -> None:
    made = make(client, line(1))
    upstream.fail(f"GET /batches/{made.id}", (429, {"retry-after": "1"}), (500, {}), (503, {}))
    upstream.end(made.id)

    (row,) = bookings(proxy, made.id)

    assert row["cost_nusd"] == 10 * INPUT_NUSD + 2 * OUTPUT_NUSD


def test_answers_that_break_off_are_read_again(proxy: TollwayProcess, client: openai.OpenAI, upstream: StoredUpstream) -> None:
    made = make(client, *[line(number) for number in range(50)])
    with upstream.held():
        upstream.end(made.id)
        output = upstream.accounts[upstream.holder(made.id)].batches[made.id]["output_file_id"]
        upstream.cut.add(f"{output}/content")
    until(lambda: f"GET {upstream.holder(made.id)}/files/{output}/content" in upstream.seen, "read")
    upstream.cut.clear()

    (row,) = bookings(proxy, made.id)

    assert row["cost_nusd"] == 50 * (10 * INPUT_NUSD + 2 * OUTPUT_NUSD)


def test_answers_are_not_deleted_before_they_are_metered(
    proxy: TollwayProcess, client: openai.OpenAI, upstream: StoredUpstream
) -> None:
    made = make(client, line(1))
    with upstream.held():
        upstream.end(made.id)
        output = upstream.accounts[upstream.holder(made.id)].batches[made.id]["output_file_id"]
        upstream.fail(f"GET /files/{output}/content", *[(500, {})] * 1000)
    until(lambda: client.batches.retrieve(made.id).output_file_id, "an output")

    with pytest.raises(openai.ConflictError) as refused:
        client.files.delete(output)
    upstream.failing.clear()
    deleted = until(lambda: _deleted(client, output), "deleted")

    assert refused.value.code == "batch_not_metered"
    assert deleted
    assert bookings(proxy, made.id)[0]["quality"] == "exact"


def _deleted(client: openai.OpenAI, file_id: str) -> bool:
    try:
        return client.files.delete(file_id).deleted
    except openai.ConflictError:
        return False


# --- what a key may do ---------------------------------------------------------------------------------------------------


def test_a_key_for_some_models_gets_no_others_by_a_batch(proxy: TollwayProcess) -> None:
    with sdk(proxy, another_key(proxy, "some", models=["openai/sma*"])) as client:
        assert make(client, line(1, "small")).status == "validating"

        with pytest.raises(openai.PermissionDeniedError) as refused:
            make(client, line(1, "small"), line(2, "gpt"))

    assert "'gpt'" in refused.value.message


def test_a_key_for_some_endpoints_gets_no_others_by_a_batch(proxy: TollwayProcess) -> None:
    with (
        sdk(proxy, another_key(proxy, "vectors", endpoints=["files", "batches", "embeddings"])) as client,
        pytest.raises(openai.PermissionDeniedError),
    ):
        make(client, line(1))


def test_a_batch_names_no_file_of_another_key(proxy: TollwayProcess) -> None:
    with sdk(proxy) as mine, sdk(proxy, another_key(proxy, "spy")) as theirs:
        secret = mine.files.create(file=("a.pdf", b"%PDF"), purpose="user_data").id
        content = [{"type": "file", "file": {"file_id": secret}}]

        with pytest.raises(openai.BadRequestError) as refused:
            make(theirs, line(1), line(2, messages=[{"role": "user", "content": content}]))

    assert refused.value.code == "file_not_found"


# --- budgets -------------------------------------------------------------------------------------------------------------


def limit(proxy: TollwayProcess) -> None:
    """A budget of a dollar for everybody, known to whoever asks from now on."""
    with proxy.client() as client:
        url = proxy.base_url.replace("/v1", "/admin/v1/budgets")
        made = client.post(url, json={"scope": "global", "usd": "1", "period": "total"})
    assert made.status_code == 201, made.text
    until(lambda: budget_of(proxy), "counted")


def budget_of(proxy: TollwayProcess) -> dict[str, Any]:
    """How the one budget stands."""
    with proxy.client() as client:
        (row,) = client.get(proxy.base_url.replace("/v1", "/admin/v1/budgets")).json()["data"]
    found: dict[str, Any] = row["standing"]
    return found


@pytest.fixture(scope="module")
def strict(upstream: StoredUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with tollway(tmp_path_factory.mktemp("strict"), setting(upstream)) as proxy:
        limit(proxy)
        yield proxy


def test_a_batch_reserves_its_worst_case_and_is_charged_what_it_took(strict: TollwayProcess, upstream: StoredUpstream) -> None:
    before = budget_of(strict)
    with sdk(strict) as client:
        made = make(client, line(1, usage="100,3"))
        reserved = budget_of(strict)
        upstream.end(made.id)
        (row,) = bookings(strict, made.id)
        after = until(lambda: (it := budget_of(strict))["reserved"] == 0 and it, "let go of")

    size = len(json.dumps(line(1, usage="100,3")["body"]))
    assert reserved["reserved"] - before["reserved"] == -(-size // 2) * INPUT_NUSD + 10 * OUTPUT_NUSD
    assert after["settled"] - before["settled"] == row["cost_nusd"] == 100 * INPUT_NUSD + 3 * OUTPUT_NUSD


def test_a_batch_that_a_budget_has_no_room_for_is_not_made(strict: TollwayProcess, upstream: StoredUpstream) -> None:
    asked = len([it for it in upstream.seen if it.startswith("POST") and it.endswith("/batches")])
    with sdk(strict) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            make(client, line(1, max_tokens=1_000_000))

        unbounded = {key: value for key, value in line(1)["body"].items() if key != "max_tokens"}
        with pytest.raises(openai.RateLimitError):
            make(client, *[{**line(1), "body": unbounded}] * 3)

    assert refused.value.code == "budget_exceeded"
    assert len([it for it in upstream.seen if it.startswith("POST") and it.endswith("/batches")]) == asked
    assert budget_of(strict)["reserved"] == 0


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([{"custom_id": "1"}], "invalid_value"),
        ([line(1, "unpriced")], "price_unknown"),
        ([{**line(1), "body": {"messages": []}}], "invalid_value"),
    ],
)
def test_a_batch_whose_worst_case_is_unknown_is_not_made_under_a_budget(
    strict: TollwayProcess, lines: list[dict[str, Any]], code: str
) -> None:
    with sdk(strict) as client, pytest.raises(openai.BadRequestError) as refused:
        make(client, *lines)

    assert (refused.value.code, refused.value.param) == (code, "input_file_id")
    assert budget_of(strict)["reserved"] == 0


def test_a_batch_that_the_upstream_refuses_holds_nothing(strict: TollwayProcess, upstream: StoredUpstream) -> None:
    upstream.fail("POST /batches", (400, {}))

    with sdk(strict) as client, pytest.raises(openai.BadRequestError):
        make(client, line(1))

    assert budget_of(strict)["reserved"] == 0


@contextmanager
def _asking(proxy: TollwayProcess, file_id: str) -> Iterator[None]:
    """A client waits for the answer to its request for a batch, which may never come."""
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}

    def ask() -> None:
        with suppress(httpx.HTTPError), proxy.client() as client:
            client.post("/batches", json=body)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)


# --- crashes -------------------------------------------------------------------------------------------------------------


def test_files_and_open_batches_outlive_kills_and_are_booked_once(upstream: StoredUpstream, tmp_path: Path) -> None:
    file = tmp_path / "home" / "batches.jsonl"
    with tollway(tmp_path / "home", setting(upstream)) as proxy:
        limit(proxy)
        with sdk(proxy) as client:
            made = make(client, line(1))
        reserved = budget_of(proxy)["reserved"]
        remembered = file.read_bytes()
        proxy.kill()
        proxy.restart()
        again = budget_of(proxy)
        with sdk(proxy) as client:
            assert [it.id for it in client.files.list()] == [made.input_file_id]
            assert b'"gpt"' in client.files.content(made.input_file_id).read()
        proxy.kill()
        upstream.end(made.id)
        proxy.restart()
        (row,) = bookings(proxy, made.id)
        after = until(lambda: (it := budget_of(proxy))["reserved"] == 0 and it, "let go of")
        proxy.kill()
        # As if it had been killed before it could note that the booking is in the journal.
        file.write_bytes(remembered)
        proxy.restart()
        standing = budget_of(proxy)

        assert bookings(proxy, made.id) == [row]
        assert proxy.command("ledger", "verify", "--config", "config.yaml").returncode == 0

    assert (again["reserved"], again["settled"]) == (reserved, 0)
    assert reserved > 0
    assert after["settled"] == row["cost_nusd"] == 10 * INPUT_NUSD + 2 * OUTPUT_NUSD
    assert (standing["settled"], standing["reserved"]) == (row["cost_nusd"], 0)
    assert b'"open":{' not in file.read_bytes().splitlines()[-1]


def test_a_batch_whose_answer_never_came_is_found_and_metered(upstream: StoredUpstream, tmp_path: Path) -> None:
    with tollway(tmp_path / "home", setting(upstream)) as proxy:
        with sdk(proxy) as client:
            file = client.files.create(file=("r.jsonl", json.dumps(line(1)).encode()), purpose="batch")
        upstream.answers_batches.clear()
        upstream.asked.clear()
        try:
            with _asking(proxy, file.id):
                assert upstream.asked.wait(PATIENCE_S)
                proxy.kill()
        finally:
            upstream.answers_batches.set()
        proxy.restart()

        with sdk(proxy) as client:
            (found,) = until(lambda: list(client.batches.list()), "found")
        upstream.end(found.id)

        (row,) = bookings(proxy, found.id)
        assert row["cost_nusd"] == 10 * INPUT_NUSD + 2 * OUTPUT_NUSD
