"""Files through a running gateway, with OpenAI's own SDK, at a strict upstream with two accounts."""

from __future__ import annotations

import http.client
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.fakes.stored_upstream import StoredUpstream, accounts
from tests.process import API_KEY, Setting, TollwayProcess, tollway


def setting(upstream: StoredUpstream, **sections: Any) -> Setting:
    """Two accounts of openai, and another provider that keeps files."""
    rows = [
        {"name": name, "api_key": upstream.accounts[f"/{name}/v1"].key, "base_url": upstream.base_url(f"/{name}/v1")}
        for name in ("a", "b")
    ]
    other = {"type": "openai", "files": True, "models": ["m"], "api_key": upstream.accounts["/other/v1"].key}
    providers = {
        "openai": {"accounts": rows, "models": ["gpt"]},
        "other": {**other, "base_url": upstream.base_url("/other/v1")},
        "plain": {"type": "openai", "base_url": "http://127.0.0.1:1/v1", "api_key": "x" * 32, "models": ["p"]},
    }
    models = {"either": {"targets": ["openai/gpt", "other/m"]}}
    said = {
        "providers": providers,
        "models": models,
        "files": {"provider": "openai", "max_bytes": 96 * 1024 * 1024},
        **sections,
    }
    return Setting(yaml.safe_dump(said), {})


@pytest.fixture(scope="module")
def upstream() -> Iterator[StoredUpstream]:
    with accounts("a", "b", "other") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: StoredUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with tollway(tmp_path_factory.mktemp("files"), setting(upstream)) as proxy:
        yield proxy


def sdk(proxy: TollwayProcess, key: str = "") -> openai.OpenAI:
    return openai.OpenAI(base_url=proxy.base_url, api_key=key or proxy.api_key, max_retries=0)


def another_key(proxy: TollwayProcess, name: str, **fields: Any) -> str:
    made = httpx.post(
        proxy.base_url.replace("/v1", "/admin/v1/keys"), json={"name": name, **fields}, headers=proxy.headers
    ).json()
    return str(made["key"])


@pytest.fixture
def client(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with sdk(proxy) as client:
        yield client


def test_a_file_comes_back_as_it_went(client: openai.OpenAI, upstream: StoredUpstream) -> None:
    content = os.urandom(3 * 1024 * 1024) + b"\r\n--boundary\r\n"

    made = client.files.create(file=("data.bin", io.BytesIO(content)), purpose="user_data")

    assert (made.filename, made.bytes, made.purpose) == ("data.bin", len(content), "user_data")
    assert client.files.content(made.id).read() == content
    assert client.files.retrieve(made.id) == made


def test_a_deleted_file_is_gone(client: openai.OpenAI) -> None:
    made = client.files.create(file=("a.txt", b"a"), purpose="user_data")

    assert client.files.delete(made.id).deleted

    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)
    assert made.id not in [it.id for it in client.files.list()]


def test_a_list_is_of_what_the_key_made(proxy: TollwayProcess) -> None:
    with sdk(proxy, another_key(proxy, "lists")) as mine, sdk(proxy, another_key(proxy, "others")) as theirs:
        names = [mine.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id for n in range(3)]
        batch = mine.files.create(file=("b.jsonl", b"{}"), purpose="batch").id
        theirs.files.create(file=("t.txt", b"x"), purpose="user_data")

        pages = [[it.id for it in page.data] for page in mine.files.list(limit=2, purpose="user_data").iter_pages()]

        assert pages == [[names[2], names[1]], [names[0]]]
        assert [it.id for it in mine.files.list(order="asc")] == [*names, batch]


def test_a_file_is_its_makers(proxy: TollwayProcess, upstream: StoredUpstream) -> None:
    with sdk(proxy) as mine, sdk(proxy, another_key(proxy, "stranger")) as theirs:
        made = mine.files.create(file=("a.txt", b"secret"), purpose="user_data")
        asked = len(upstream.seen)

        for ask in (theirs.files.retrieve, theirs.files.content, theirs.files.delete, mine.files.retrieve):
            with pytest.raises(openai.NotFoundError) as refused:
                ask(made.id if ask.__self__ is theirs.files else "file-none")
            assert refused.value.code == "not_found"

        assert len(upstream.seen) == asked
        assert mine.files.retrieve(made.id).id == made.id


@pytest.mark.parametrize("name", ["../models", "a/b", "%2e%2e", "file 1", "x" * 200])
def test_what_is_no_id_goes_nowhere(proxy: TollwayProcess, upstream: StoredUpstream, name: str) -> None:
    asked = len(upstream.seen)

    with proxy.client() as client:
        status = client.get(f"/files/{name.replace('/', '%2F')}").status_code

    assert (status, len(upstream.seen)) == (404, asked)


@pytest.mark.parametrize(
    ("how", "prefix"),
    [
        ({"extra_headers": {"x-tollway-provider": "other"}}, "/other/v1"),
        ({"extra_headers": {"x-tollway-provider": "openai@b"}}, "/b/v1"),
        ({"extra_body": {"provider": "other"}}, "/other/v1"),
        ({"extra_body": {"custom_llm_provider": "openai@a"}}, "/a/v1"),
    ],
)
def test_a_request_may_say_who_gets_it(
    client: openai.OpenAI, upstream: StoredUpstream, how: dict[str, Any], prefix: str
) -> None:
    made = client.files.create(file=("a.txt", b"a"), purpose="user_data", **how)

    assert upstream.holder(made.id) == prefix
    assert client.files.content(made.id).read() == b"a"


@pytest.mark.parametrize(
    ("provider", "code"), [("plain", "unsupported_endpoint"), ("nobody", "invalid_value"), ("openai@c", "invalid_value")]
)
def test_who_keeps_no_files_is_not_asked(client: openai.OpenAI, provider: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("a.txt", b"a"), purpose="user_data", extra_headers={"x-tollway-provider": provider})

    assert refused.value.code == code


def test_files_are_shared_among_the_accounts(client: openai.OpenAI, upstream: StoredUpstream) -> None:
    made = [client.files.create(file=("a.txt", b"a"), purpose="user_data").id for _ in range(20)]

    assert {upstream.holder(it) for it in made} == {"/a/v1", "/b/v1"}


def test_a_larger_file_than_is_allowed_is_refused_before_it_comes(proxy: TollwayProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    connection.putrequest("POST", "/v1/files")
    for name, value in {
        **proxy.headers,
        "content-type": "multipart/form-data; boundary=b",
        "content-length": "200000000",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()

    answer = connection.getresponse()

    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "request_too_large")
    connection.close()


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_file_is_never_in_memory(proxy: TollwayProcess, client: openai.OpenAI) -> None:
    client.files.delete(client.files.create(file=("small", b"x"), purpose="user_data").id)
    before = peak_bytes(proxy.pid)

    made = client.files.create(file=("large", io.BytesIO(bytes(80 * 1024 * 1024))), purpose="user_data")
    size = sum(map(len, client.files.content(made.id).iter_bytes()))

    assert size == made.bytes == 80 * 1024 * 1024
    assert peak_bytes(proxy.pid) - before < 20 * 1024 * 1024


FORM = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
FILE = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n'
LATE = b'--b\r\ncontent-disposition: form-data; name="provider"\r\n\r\nother\r\n'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        FORM + b"--b--\r\n",
        FORM + FILE,
        FORM + FILE + b"--b",
        FORM + FILE + FILE + b"--b--\r\n",
        FORM + FILE + LATE + b"--b--\r\n",
        FORM + FILE.replace(b'"file"', b'"other"') + b"--b--\r\n",
        b"{}",
    ],
)
def test_a_form_that_is_none_reaches_nobody(proxy: TollwayProcess, upstream: StoredUpstream, body: bytes) -> None:
    held = sum(len(it.files) for it in upstream.accounts.values())

    with proxy.client() as client:
        answer = client.post("/files", content=body, headers={"content-type": "multipart/form-data; boundary=b"})

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert sum(len(it.files) for it in upstream.accounts.values()) == held


def test_a_body_of_unknown_length_is_passed_on_in_pieces(proxy: TollwayProcess, upstream: StoredUpstream) -> None:
    def pieces() -> Iterator[bytes]:
        yield FORM + FILE.replace(b"x\r\n", b"")
        for _ in range(64):
            yield b"y" * 65_536
        yield b"\r\n--b--\r\n"

    with proxy.client() as client:
        made = client.post("/files", content=pieces(), headers={"content-type": "multipart/form-data; boundary=b"}).json()

    assert made["bytes"] == 64 * 65_536
    assert 0 < upstream.largest_piece < 1024 * 1024


def test_a_file_may_come_in_parts(client: openai.OpenAI, upstream: StoredUpstream) -> None:
    upload = client.uploads.create(
        filename="joined.jsonl", purpose="batch", bytes=6, mime_type="text/plain", extra_body={"provider": "other"}
    )
    parts = [client.uploads.parts.create(upload.id, data=data).id for data in (b"one", b"two")]

    done = client.uploads.complete(upload.id, part_ids=parts)

    assert done.file is not None
    assert upstream.holder(done.file.id) == "/other/v1"
    assert client.files.content(done.file.id).read() == b"onetwo"
    with pytest.raises(openai.NotFoundError):
        client.uploads.cancel(upload.id)


def test_an_upload_is_its_makers(proxy: TollwayProcess) -> None:
    with sdk(proxy) as mine, sdk(proxy, another_key(proxy, "uploads")) as theirs:
        upload = mine.uploads.create(filename="f", purpose="batch", bytes=3, mime_type="text/plain")

        with pytest.raises(openai.NotFoundError):
            theirs.uploads.parts.create(upload.id, data=b"one")
        assert mine.uploads.cancel(upload.id).status == "cancelled"


def test_a_file_that_breaks_off_does_not_look_whole(client: openai.OpenAI, upstream: StoredUpstream) -> None:
    made = client.files.create(file=("a.bin", b"z" * 200_000), purpose="user_data")
    upstream.cut.add(f"{made.id}/content")

    with pytest.raises((httpx.HTTPError, openai.APIConnectionError)):
        client.files.content(made.id).read()


def test_what_the_upstream_refuses_is_told(client: openai.OpenAI, upstream: StoredUpstream) -> None:
    made = client.files.create(file=("a.txt", b"a"), purpose="user_data")
    upstream.fail(f"GET /files/{made.id}", (429, {"retry-after": "7"}))

    with pytest.raises(openai.RateLimitError) as refused:
        client.files.retrieve(made.id)

    assert refused.value.response.headers["retry-after"] == "7"


def test_a_file_that_its_provider_has_lost_is_forgotten(client: openai.OpenAI, upstream: StoredUpstream) -> None:
    made = client.files.create(file=("a.txt", b"a"), purpose="user_data")
    del upstream.accounts[upstream.holder(made.id)].files[made.id]

    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)

    assert made.id not in [it.id for it in client.files.list()]


def test_every_request_leaves_one_record_at_no_cost(proxy: TollwayProcess) -> None:
    with proxy.client() as client:
        headers = {"x-tollway-tags": "nightly"}
        listed = client.get("/files", headers=headers).headers["x-request-id"]
        missed = client.get("/files/file-none", headers=headers).headers["x-request-id"]

        found = {row["request_id"]: row for row in proxy.records("files")}

    assert (found[listed]["status"], found[listed]["cost_nusd"], found[listed]["tags"]) == (200, 0, '["nightly"]')
    assert (found[missed]["status"], found[missed]["outcome"], found[missed]["cost_nusd"]) == (404, "not_found", 0)
    assert found[missed]["provider"] == ""


def test_a_key_may_be_held_to_files(proxy: TollwayProcess) -> None:
    chats = sdk(proxy, another_key(proxy, "chats", endpoints=["chat/completions"]))
    keeps = sdk(proxy, another_key(proxy, "keeps", endpoints=["files"]))

    with chats, keeps:
        with pytest.raises(openai.PermissionDeniedError):
            chats.files.list()
        assert list(keeps.files.list()) == []


def read(client: openai.OpenAI, *names: str, model: str = "openai/gpt") -> str:
    parts: Any = [{"type": "file", "file": {"file_id": name}} for name in names]
    text: Any = {"type": "text", "text": "read it"}
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": [text, *parts]}])
    return answer.choices[0].message.content or ""


def test_a_request_goes_to_the_account_that_holds_its_file(client: openai.OpenAI, upstream: StoredUpstream) -> None:
    for account in ("openai@a", "openai@b"):
        made = client.files.create(file=("a.pdf", b"%PDF"), purpose="user_data", extra_headers={"x-tollway-provider": account})

        assert [read(client, made.id) for _ in range(4)] == ["read"] * 4
        assert [read(client, made.id, model="either") for _ in range(4)] == ["read"] * 4


def test_a_request_with_a_file_that_is_not_its_keys_is_refused(proxy: TollwayProcess, upstream: StoredUpstream) -> None:
    with sdk(proxy) as mine, sdk(proxy, another_key(proxy, "reader")) as theirs:
        made = [
            mine.files.create(file=("a.pdf", b"%PDF"), purpose="user_data", extra_headers={"x-tollway-provider": it}).id
            for it in ("openai@a", "openai@b")
        ]
        asked = len(upstream.seen)

        for client, names, model, code in (
            (theirs, made[:1], "openai/gpt", "file_not_found"),
            (mine, made, "openai/gpt", "invalid_value"),
            (mine, made[:1], "other/m", "invalid_value"),
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                read(client, *names, model=model)
            assert (refused.value.code, refused.value.param) == (code, "file_id")

        assert len(upstream.seen) == asked


def test_requests_about_files_and_batches_count_as_any_other(proxy: TollwayProcess) -> None:
    key = another_key(proxy, "hasty", requests_per_minute=3)
    with httpx.Client(base_url=proxy.base_url, headers={"authorization": f"Bearer {key}"}, trust_env=False) as client:
        left = [client.get(path).headers["x-ratelimit-remaining-requests"] for path in ("/files", "/batches", "/files?limit=1")]
        refused = [client.get(path) for path in ("/files", "/batches", "/responses/resp_1")]

    assert left == ["2", "1", "0"]
    assert {(it.status_code, it.json()["error"]["code"]) for it in refused} == {(429, "rate_limit_exceeded")}
    assert all(15 <= int(it.headers["retry-after"]) <= 20 for it in refused)


def test_strangers_send_nothing(proxy: TollwayProcess, upstream: StoredUpstream) -> None:
    asked = len(upstream.seen)

    answer = httpx.post(f"{proxy.base_url}/files", files={"file": ("f", b"x")}, data={"purpose": "user_data"})

    assert (answer.status_code, len(upstream.seen)) == (401, asked)


async def test_the_asynchronous_sdk_uploads(proxy: TollwayProcess) -> None:
    async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key=API_KEY, max_retries=0) as client:
        made = await client.files.create(file=("a.txt", b"later"), purpose="user_data")

        assert (await client.files.content(made.id)).content == b"later"
