"""The HTTP edge of a running proxy, driven by raw sockets: what no SDK would send, and clients that are too slow."""

from __future__ import annotations

import gzip
import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

HEADER_S = 1.0
BODY_S = 1.0
BODY_MAX = 200_000


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    shared_upstream.serve("plain")
    setting = config(
        shared_upstream,
        {"openai": ["plain"]},
        server={"header_timeout_s": HEADER_S, "body_timeout_s": BODY_S, "max_body_bytes": BODY_MAX},
    )
    with tollway(tmp_path_factory.mktemp("edge"), setting) as proxy:
        yield proxy


class Answer:
    """A raw answer, and whether the server closed the connection after it."""

    def __init__(self, received: bytes, *, closed: bool) -> None:
        head, _, self.body = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status.split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.closed = closed

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        assert sorted(found) == ["code", "message", "param", "type"]
        return found


def talk(proxy: TollwayProcess, *pieces: bytes | float, wait_s: float = 8.0) -> Answer:
    """Send the pieces, pausing for the numbers among them, and read the one answer."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=wait_s) as connection:
        for piece in pieces:
            if isinstance(piece, float):
                time.sleep(piece)
                continue
            try:
                connection.sendall(piece)
            except ConnectionError:
                break
        received, closed = b"", False
        while True:
            head, _, body = received.partition(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)
            if body and length is not None and len(body) >= length:
                connection.settimeout(0.3)
            try:
                data = connection.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:  # what had not been read by then is answered with a reset
                closed = True
                break
            if not data:
                closed = True
                break
            received += data
        return Answer(received, closed=closed)


def post(proxy: TollwayProcess, body: bytes, *, headers: bytes = b"", host: bytes = b"127.0.0.1", path: bytes = b"") -> bytes:
    return b"".join(
        (
            b"POST " + (path or b"/v1/chat/completions") + b" HTTP/1.1\r\nhost: " + host + b"\r\n",
            f"authorization: Bearer {proxy.api_key}\r\ncontent-length: {len(body)}\r\n".encode(),
            headers + b"\r\n" + body,
        )
    )


ASK = b'{"model":"openai/plain","messages":[]}'


# --- hosts and framing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [b"evil.test", b"127.0.0.1.evil.test", b"a b", b"127.0.0.1:99999999", b"", b"127.0.0.1/../x?"])
def test_a_foreign_or_malformed_host_is_refused_and_the_connection_closed(proxy: TollwayProcess, host: bytes) -> None:
    answer = talk(proxy, post(proxy, ASK, host=host))

    assert (answer.status, answer.closed) == (400, True)
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "headers",
    [
        b"content-length: 3\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"x-bad : 1\r\n",
        b" folded: 1\r\n",
        b"x-nul: a\0b\r\n",
    ],
    ids=["second length", "length and chunked", "odd encoding", "space before colon", "obsolete fold", "nul"],
)
def test_framing_that_could_be_read_in_two_ways_is_refused_and_the_connection_closed(
    proxy: TollwayProcess, headers: bytes
) -> None:
    answer = talk(proxy, post(proxy, ASK, headers=headers))

    assert (answer.status, answer.closed) == (400, True)
    assert answer.error["code"] in ("invalid_http", "invalid_json")
    assert answer.headers["x-request-id"]


def test_a_body_in_an_encoding_that_is_not_known_is_not_taken(proxy: TollwayProcess) -> None:
    answer = talk(proxy, post(proxy, ASK, headers=b"content-encoding: zstd\r\n"))

    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


# --- what clients do that is not OpenAI's SDK ----------------------------------------------------------------------------


def upstreams(upstream: OpenAIUpstream) -> Any:
    """The body that the upstream got last."""
    return upstream.of("plain")[-1].json


@pytest.mark.parametrize("size", [0, 9000], ids=["small", "large"])
def test_a_compressed_body_reaches_the_provider_as_it_was(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, size: int
) -> None:
    chance = random.Random(7)  # noqa: S311  # what cannot be compressed
    ask = {**json.loads(ASK), "metadata": {"x": chance.randbytes(size).hex()}}

    answer = talk(proxy, post(proxy, gzip.compress(json.dumps(ask).encode()), headers=b"content-encoding: gzip\r\n"))

    assert answer.status == 200
    assert upstreams(shared_upstream) == {**ask, "model": "plain"}


def test_a_compressed_body_may_not_grow_over_the_bound(proxy: TollwayProcess) -> None:
    answer = talk(proxy, post(proxy, gzip.compress(bytes(BODY_MAX + 1)), headers=b"content-encoding: gzip\r\n"))

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


# What Java's own client sends with its first request on a connection.
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"


@pytest.mark.parametrize("cut", [0, 30, 250, -5], ids=["whole", "in the line", "in the head", "in the body"])
def test_a_client_that_offers_http_2_is_answered_in_http_1_and_may_ask_again(proxy: TollwayProcess, cut: int) -> None:
    request = post(proxy, ASK, headers=OFFER) + post(proxy, ASK)

    answer = talk(proxy, *([request[:cut], 0.05, request[cut:]] if cut else [request]))

    assert (answer.status, answer.closed) == (200, False)
    assert answer.body.count(b'"chat.completion"') == 2


def test_an_offer_with_a_chunked_body_is_read_too(proxy: TollwayProcess) -> None:
    head = post(proxy, b"", headers=OFFER + b"transfer-encoding: chunked\r\n").replace(b"content-length: 0\r\n", b"")

    answer = talk(proxy, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(ASK), ASK))

    assert answer.status == 200


@pytest.mark.parametrize("line", [b"CONNECT example.com:443 HTTP/1.1", b"PRI * HTTP/2.0"])
def test_what_is_no_request_for_this_server_is_refused_and_the_connection_closed(proxy: TollwayProcess, line: bytes) -> None:
    answer = talk(proxy, line + b"\r\nhost: example.com:443\r\n\r\n")

    assert (answer.status, answer.closed) == (400, True)


def test_a_stream_for_a_client_of_http_1_0_has_no_chunks_and_ends_with_its_connection(proxy: TollwayProcess) -> None:
    ask = ASK[:-1] + b',"stream":true}'

    answer = talk(proxy, post(proxy, ask).replace(b"HTTP/1.1", b"HTTP/1.0", 1))

    assert (answer.status, answer.closed) == (200, True)
    assert "transfer-encoding" not in answer.headers
    assert answer.body.startswith(b"data: ")
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_a_whole_answer_for_a_client_of_http_1_0_has_its_length(proxy: TollwayProcess) -> None:
    answer = talk(proxy, post(proxy, ASK).replace(b"HTTP/1.1", b"HTTP/1.0", 1))

    assert (answer.status, answer.closed) == (200, True)
    assert len(answer.body) == int(answer.headers["content-length"])


@pytest.mark.parametrize(
    "path", [b"/chat/completions", b"//v1/chat/completions", b"/v1/v1/chat/completions/", b"/openai/v1/chat/completions?a=b"]
)
def test_a_base_url_that_is_not_quite_right_leads_to_the_same_place(proxy: TollwayProcess, path: bytes) -> None:
    assert talk(proxy, post(proxy, ASK, path=path)).status == 200


@pytest.mark.parametrize("body", [ASK, b'{"model":"gpt-4o","messages":[]}', b'{"messages":[]}'], ids=["same", "other", "none"])
def test_a_client_of_azures_names_the_model_in_its_path(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, body: bytes
) -> None:
    request = post(proxy, body, path=b"/openai/deployments/openai%2Fplain/chat/completions?api-version=2024-10-21")

    answer = talk(proxy, request.replace(b"authorization: Bearer ", b"api-key: "))

    assert answer.status == 200
    assert upstreams(shared_upstream) == {"model": "plain", "messages": []}


PAGE = b"origin: http://localhost:3000\r\n"


def test_a_page_of_this_machine_may_ask_whether_it_may_ask(proxy: TollwayProcess) -> None:
    asks = b"access-control-request-method: POST\r\naccess-control-request-headers: authorization,content-type\r\n"

    answer = talk(proxy, b"OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n" + PAGE + asks + b"\r\n", wait_s=1.0)

    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"


@pytest.mark.parametrize("stream", [b"false", b"true"])
@pytest.mark.parametrize(("path", "status"), [(b"/v1/chat/completions", 200), (b"/nothing", 404)])
def test_a_page_of_this_machine_may_read_its_answer(proxy: TollwayProcess, stream: bytes, path: bytes, status: int) -> None:
    ask = ASK[:-1] + b',"stream":' + stream + b"}"

    answer = talk(proxy, post(proxy, ask, headers=PAGE + b"connection: close\r\n", path=path))

    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_a_page_of_another_may_not(proxy: TollwayProcess) -> None:
    answer = talk(proxy, post(proxy, ASK, headers=b"origin: https://evil.example\r\n"))

    assert "access-control-allow-origin" not in answer.headers


# --- keys ----------------------------------------------------------------------------------------------------------------


def test_two_authorizations_are_none(proxy: TollwayProcess) -> None:
    answer = talk(proxy, post(proxy, ASK, headers=b"authorization: Bearer other\r\n"))

    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "authorization", [b"", b"authorization: Bearer\r\n", b"authorization: Bearer \r\n", b"authorization: Basic eA==\r\n"]
)
def test_every_kind_of_missing_key_gets_the_same_answer(proxy: TollwayProcess, authorization: bytes) -> None:
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n" + authorization
    request += b"content-length: %d\r\n\r\n" % len(ASK) + ASK

    answer = talk(proxy, request)

    unknown = talk(proxy, request.replace(authorization, b"") if not authorization else request)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert unknown.body == answer.body


# --- size and time ---------------------------------------------------------------------------------------------------


def test_a_body_that_announces_too_much_is_refused_before_it_is_read(proxy: TollwayProcess) -> None:
    head = post(proxy, ASK).replace(b"content-length: %d" % len(ASK), b"content-length: 10000000000")

    answer = talk(proxy, head)

    assert (answer.status, answer.error["code"], answer.closed) == (413, "request_too_large", True)


def test_a_chunked_body_that_grows_too_large_is_refused_on_the_way(proxy: TollwayProcess) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    head = post(proxy, b"").replace(b"content-length: 0", b"transfer-encoding: chunked")

    answer = talk(proxy, head, *[chunk] * 8)

    assert (answer.status, answer.error["code"], answer.closed) == (413, "request_too_large", True)


def test_a_large_upload_without_a_key_is_refused_before_it_is_whole(proxy: TollwayProcess) -> None:
    chunk = b"8000\r\n" + b" " * 32768 + b"\r\n"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"

    answer = talk(proxy, head, *[chunk] * 4)

    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_a_head_that_trickles_is_timed_out(proxy: TollwayProcess) -> None:
    started_s = time.monotonic()

    answer = talk(proxy, b"POST /v1/chat/completions HTTP/1.1\r\n", *[b"x", 0.3] * 8)

    assert (answer.status, answer.error["code"], answer.closed) == (408, "request_timeout", True)
    assert answer.headers["x-request-id"]
    assert time.monotonic() - started_s < HEADER_S + 3


def test_a_body_that_trickles_is_timed_out_and_leaves_its_record(proxy: TollwayProcess) -> None:
    request = post(proxy, ASK)

    answer = talk(proxy, request[:-10], *[b" ", 0.3] * 6)

    assert (answer.status, answer.error["code"], answer.closed) == (408, "request_timeout", True)
    assert proxy.receipt(answer.headers["x-request-id"])["outcome"] == "request_timeout"


def test_slow_clients_do_not_hold_up_others(proxy: TollwayProcess) -> None:
    slow = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(100)]
    for connection in slow:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: loc")

    with proxy.client() as client:
        answers = [client.post("/chat/completions", content=ASK) for _ in range(20)]

    for connection in slow:
        connection.close()
    assert {answer.status_code for answer in answers} == {200}
    assert max(answer.elapsed.total_seconds() for answer in answers) < 5


# --- the gate, seen from outside ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"model":"openai/plain","x":NaN}',
        b'{"model":"openai/plain","model":"openai/plain"}',
        b'{"model":"openai/plain","x":"\\ud800"}',
        b'{"model":"openai/plain","x":"\xff"}',
        b'{"model":"openai/plain","x":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"model":"openai/plain"} {}',
        b"\xef\xbb\xbf" + ASK,
    ],
    ids=["empty", "cut", "list", "nan", "twice", "surrogate", "utf-8", "deep", "trailing", "bom"],
)
def test_what_is_not_strict_json_is_refused_on_the_record(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, body: bytes
) -> None:
    before = len(shared_upstream.seen)

    answer = talk(proxy, post(proxy, body))

    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    assert proxy.receipt(answer.headers["x-request-id"])["outcome"] == "invalid_json"
    assert len(shared_upstream.seen) == before


def test_a_model_name_cannot_break_out_of_a_header(proxy: TollwayProcess) -> None:
    answer = talk(proxy, post(proxy, b'{"model":"openai/plain\\r\\nset-cookie: a=1","messages":[]}'))

    assert (answer.status, answer.error["param"]) == (400, "model")
    assert "set-cookie" not in answer.headers


def test_requests_on_one_connection_are_answered_in_order(proxy: TollwayProcess) -> None:
    get = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"

    answer = talk(proxy, post(proxy, ASK) + get)

    assert answer.status == 200
    assert answer.body.index(b'"chat.completion"') < answer.body.index(b'{"status":"ok"')


# --- everything else ---------------------------------------------------------------------------------------------------


def test_the_schema_describes_raw_and_other_routes_alike(proxy: TollwayProcess) -> None:
    with proxy.client() as client:
        schema = client.get(f"http://127.0.0.1:{proxy.port}/openapi.json").json()

    assert {"/v1/chat/completions", "/v1/responses", "/v1/models", "/v1/receipts/{request_id}", "/admin/v1/keys"} <= set(
        schema["paths"]
    )
    assert {"/v1/files", "/v1/files/{file_id}/content", "/v1/uploads/{upload_id}/parts", "/v1/batches"} <= set(schema["paths"])
    assert {"/v1/messages", "/v1/messages/count_tokens", "/v1beta/models/{model}:generateContent"} <= set(schema["paths"])


def test_the_documentation_loads_nothing_from_elsewhere(proxy: TollwayProcess) -> None:
    with proxy.client() as client:
        page = client.get(f"http://127.0.0.1:{proxy.port}/docs")
        script = client.get(f"http://127.0.0.1:{proxy.port}/docs/static/swagger-ui-bundle.js")

    assert page.status_code == 200
    assert "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert script.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405), ("GET", "/nothing", 404), ("DELETE", "/livez", 405)],
)
def test_what_is_not_there_is_told_in_the_contracts_shape(proxy: TollwayProcess, method: str, path: str, status: int) -> None:
    with proxy.client() as client:
        answer = client.request(method, f"http://127.0.0.1:{proxy.port}{path}")

    assert answer.status_code == status
    assert sorted(answer.json()["error"]) == ["code", "message", "param", "type"]
    assert answer.headers["x-request-id"]


def test_a_key_that_is_no_admins_administers_nothing(proxy: TollwayProcess) -> None:
    with proxy.client() as client:
        admin = f"http://127.0.0.1:{proxy.port}/admin/v1/keys"
        made = client.post(admin, json={"name": "lesser"}).json()["key"]

        lesser = client.get(admin, headers={"authorization": f"Bearer {made}"})
        nobody = client.get(admin, headers={"authorization": "Bearer x"})

    assert (lesser.status_code, lesser.json()["error"]["code"]) == (403, "not_allowed")
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_key_sees_its_own_receipts_and_no_others(proxy: TollwayProcess) -> None:
    with proxy.client() as client:
        made = client.post(f"http://127.0.0.1:{proxy.port}/admin/v1/keys", json={"name": "nosy"}).json()["key"]
        theirs = client.post("/chat/completions", content=ASK).headers["x-request-id"]
        nosy = {"authorization": f"Bearer {made}"}
        own = client.post("/chat/completions", content=ASK, headers=nosy).headers["x-request-id"]

        assert client.get(f"/receipts/{own}", headers=nosy).status_code == 200
        assert client.get(f"/receipts/{theirs}", headers=nosy).status_code == 404
