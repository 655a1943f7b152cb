from __future__ import annotations

import asyncio
import gzip
import ipaddress
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from providers.openai.vendors import VENDORS
from providers.provider import Traits
from proxy.deployments.discovery import (
    BODY_BYTES,
    LOCAL_URLS,
    MODEL_NAME_CHARS,
    MODELS,
    Found,
    Listing,
    discover,
    found_in_environment,
    host_url,
    list_models,
)
from tests.fakes.local_servers import SHOWN, LMStudio, Ollama, running

KEY = "sk-0123456789abcdef"
PATIENCE_S = 10.0
IMPATIENCE_S = 0.2
# Nothing tells what is deployed in a resource of one's own: Azure is not found.
WITH_KEY = [vendor for vendor in VENDORS.values() if vendor.key_names and "{resource}" not in vendor.base_url]


class Server:
    """One HTTP answer to whatever is asked, on a free port; what was asked is kept."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.requests: list[str] = []
        self.base_url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def http(body: Any, status: str = "200 OK", **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}Connection: close\r\n\r\n".encode() + content


def page(*names: Any) -> bytes:
    return http({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


@asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server, "127.0.0.1", 0)
    async with listener:
        server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        yield server


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


def at(base_url: str, *, vendor: str = "openai", api_key: str | None = KEY) -> Found:
    return Found(vendor=vendor, base_url=base_url, api_key=api_key, origin="OPENAI_API_KEY")


async def listed(client: httpx.AsyncClient, answer: bytes | None, *, timeout_s: float = PATIENCE_S) -> Listing:
    async with serving(answer) as server:
        return await list_models(client, at(server.base_url), timeout_s)


# --- found_in_environment ---


@pytest.mark.parametrize("vendor", WITH_KEY, ids=lambda vendor: vendor.name)
def test_a_key_in_the_environment_is_its_vendor_at_its_own_address(vendor: Any) -> None:
    (found,) = found_in_environment({vendor.key_names[-1]: f" {KEY}\n", "AWS_REGION": "eu-west-1"})

    assert (vendor.name, vendor.base_url.replace("{region}", "eu-west-1"), KEY, vendor.key_names[-1]) == (
        found.vendor,
        found.base_url,
        found.api_key,
        found.origin,
    )


@pytest.mark.parametrize("vendor", [row for row in WITH_KEY if len(row.key_names) > 1], ids=lambda vendor: vendor.name)
def test_the_first_name_of_a_key_wins(vendor: Any) -> None:
    environ = {name: f"key-{number}" for number, name in enumerate(vendor.key_names)}

    (found,) = found_in_environment(environ)

    assert ("key-0", vendor.key_names[0]) == (found.api_key, found.origin)


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_a_blank_key_is_no_key(value: str) -> None:
    assert found_in_environment({"OPENAI_API_KEY": value}) == ()


def test_an_empty_environment_has_no_providers() -> None:
    assert found_in_environment({"PATH": "/bin", "OPENAI_BASE_URL": "https://proxy.example/v1"}) == ()


def test_the_gateways_own_model_is_not_found_by_a_name_other_programs_use() -> None:
    assert found_in_environment({"LOCAL_BASE_URL": "http://127.0.0.1:9/v1"}) == ()


def test_vendors_come_in_the_order_of_the_table() -> None:
    environ = {vendor.key_names[0]: KEY for vendor in reversed(WITH_KEY)} | {"AWS_DEFAULT_REGION": "eu-west-1"}

    assert [vendor.name for vendor in WITH_KEY] == [found.vendor for found in found_in_environment(environ)]


@pytest.mark.parametrize("region", ["", "europe", "us-east-1.evil.test"])
def test_a_vendor_that_is_in_regions_is_found_in_a_region_alone(region: str) -> None:
    assert found_in_environment({"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": region}) == ()


@pytest.mark.parametrize(
    ("environ", "base_url"),
    [
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://proxy.example/v1/"}, "https://proxy.example/v1"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://proxy.example"}, "https://proxy.example"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": " "}, "https://api.openai.com/v1"),
        ({"GROQ_API_KEY": KEY, "GROQ_BASE_URL": "https://proxy.example"}, "https://proxy.example/openai/v1"),
        ({"GROQ_API_KEY": KEY, "GROQ_BASE_URL": "https://p.example/openai/v1"}, "https://p.example/openai/v1"),
        ({"CEREBRAS_API_KEY": KEY, "CEREBRAS_BASE_URL": "https://proxy.example/"}, "https://proxy.example/v1"),
        ({"VLLM_BASE_URL": "http://10.0.0.5:8000/v1"}, "http://10.0.0.5:8000/v1"),
        ({"GEMINI_API_KEY": KEY, "GEMINI_BASE_URL": "https://p.example/v1beta/openai/"}, "https://p.example/v1beta"),
        ({"GEMINI_API_KEY": KEY, "GEMINI_BASE_URL": "https://p.example/v1beta"}, "https://p.example/v1beta"),
        ({"OLLAMA_HOST": "gpu-box"}, "http://gpu-box:11434/v1"),
        ({"LMSTUDIO_HOST": "gpu-box"}, "http://gpu-box:1234/v1"),
        ({"OLLAMA_HOST": "gpu-box", "OLLAMA_BASE_URL": "http://other:1/v1"}, "http://other:1/v1"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://[broken"}, "http://[broken"),
    ],
)
def test_the_environment_overrides_addresses(environ: Mapping[str, str], base_url: str) -> None:
    (found,) = found_in_environment(environ)

    assert base_url == found.base_url


def test_no_representation_shows_a_secret() -> None:
    found = at("https://user:hidden@proxy.example/v1")

    shown = f"{found!r} {found} {Listing(found=found)!r}"

    assert KEY not in shown
    assert "hidden" not in shown
    assert "https://proxy.example/v1" in shown


# --- OLLAMA_HOST ---


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434/v1"),
        ("gpu.example", "http://gpu.example:11434/v1"),
        ("gpu.example:8080", "http://gpu.example:8080/v1"),
        ("gpu.example:8080/", "http://gpu.example:8080/v1"),
        (":8080", "http://127.0.0.1:8080/v1"),
        ("gpu.example:", "http://gpu.example:11434/v1"),
        ("http://gpu.example", "http://gpu.example:80/v1"),
        ("https://gpu.example", "https://gpu.example:443/v1"),
        ("HTTPS://gpu.example:8443/", "https://gpu.example:8443/v1"),
        ("https://gpu.example/ollama", "https://gpu.example:443/ollama/v1"),
        ("https://gpu.example/ollama/v1", "https://gpu.example:443/ollama/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),  # noqa: S104  # nothing is bound: what Ollama was told to bind
        ("0.0.0.0:8080", "http://127.0.0.1:8080/v1"),
        ("[::]:8080", "http://[::1]:8080/v1"),
        ("::1", "http://[::1]:11434/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
        ("[fe80::1]:8080", "http://[fe80::1]:8080/v1"),
        (' "gpu.example" ', "http://gpu.example:11434/v1"),
        ("'gpu.example:1'", "http://gpu.example:1/v1"),
    ],
)
def test_the_forms_that_ollama_accepts(text: str, base_url: str) -> None:
    assert base_url == host_url(text, 11434)


@pytest.mark.parametrize(
    "text",
    ["ftp://gpu.example", "gpu.example:port", "gpu.example:0", "gpu.example:70000", "a b", "u:p@host", "é", "x:y:z"],
)
def test_what_names_no_server_is_no_url(text: str) -> None:
    assert host_url(text, 11434) is None


hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z][a-z0-9]{0,10}){0,2}", fullmatch=True),
    st.ip_addresses(v=4).filter(lambda address: not address.is_unspecified).map(str),
    st.ip_addresses(v=6).filter(lambda address: not address.is_unspecified).map(lambda address: f"[{address}]"),
)


@given(host=hosts, port=st.one_of(st.none(), st.integers(1, 65_535)), scheme=st.sampled_from(["", "http", "https"]))
def test_every_host_port_and_scheme_survives(host: str, port: int | None, scheme: str) -> None:
    text = (f"{scheme}://" if scheme else "") + host + (f":{port}" if port else "")

    url = httpx.URL(host_url(text, 11434) or "")

    default_port = {"": 11434, "http": 80, "https": 443}[scheme]
    schemes_default = {"http": 80, "https": 443}[scheme or "http"]
    assert (scheme or "http", port or default_port) == (url.scheme, url.port or schemes_default)
    assert host.strip("[]") == url.host
    assert url.path == "/v1"


@given(st.text(max_size=60))
def test_any_text_is_a_usable_url_or_none(text: str) -> None:
    base_url = host_url(text, 11434)

    assert base_url is None or (httpx.URL(base_url).host and httpx.URL(base_url).path.endswith("/v1"))


@given(address=st.ip_addresses(v=6))
def test_a_bare_ipv6_address_gets_its_brackets(address: ipaddress.IPv6Address) -> None:
    base_url = host_url(str(address), 11434)

    assert base_url == f"http://[{'::1' if address.is_unspecified else address}]:11434/v1"


# --- list_models: what is asked ---


async def test_the_key_goes_as_bearer_token(client: httpx.AsyncClient) -> None:
    async with serving(page("a")) as server:
        await list_models(client, at(f"{server.base_url}/"), PATIENCE_S)

        (request,) = server.requests

    assert request.startswith("GET /v1/models HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}\r\n" in request


async def test_without_a_key_no_authorization_is_sent(client: httpx.AsyncClient) -> None:
    async with serving(page("a")) as server:
        await list_models(client, at(server.base_url, vendor="vllm", api_key=None), PATIENCE_S)

        (request,) = server.requests

    assert "authorization" not in request.lower()


async def test_anthropic_is_asked_in_its_own_words_for_all_its_names(client: httpx.AsyncClient) -> None:
    async with serving(page("claude-sonnet-4-5")) as server:
        listing = await list_models(client, at(server.base_url, vendor="anthropic"), PATIENCE_S)

        (request,) = server.requests

    assert request.startswith("GET /v1/models?limit=1000 HTTP/1.1\r\n")
    assert f"x-api-key: {KEY}\r\n" in request
    assert "anthropic-version: 2023-06-01\r\n" in request
    assert "authorization" not in request.lower()
    assert listing.models == ("claude-sonnet-4-5",)


async def test_gemini_names_lose_the_prefix_of_their_resource(client: httpx.AsyncClient) -> None:
    async with serving(page("models/gemini-2.5-flash", "other")) as server:
        listing = await list_models(client, at(server.base_url, vendor="gemini"), PATIENCE_S)

    assert listing.models == ("gemini-2.5-flash", "other")


async def test_gemini_is_asked_in_its_own_words_for_all_its_names(client: httpx.AsyncClient) -> None:
    answer = http({"models": [{"name": "models/gemini-2.5-flash", "version": "1"}, {"name": "models/other"}]})
    async with serving(answer) as server:
        found = replace(at(server.base_url, vendor="my-gemini"), protocol="gemini")
        listing = await list_models(client, found, PATIENCE_S)

        (request,) = server.requests

    assert request.startswith("GET /v1/models?pageSize=1000 HTTP/1.1\r\n")
    assert f"x-goog-api-key: {KEY}\r\n" in request
    assert "authorization" not in request.lower()
    assert listing.models == ("gemini-2.5-flash", "other")


# --- list_models: what is answered ---


async def test_names_come_in_order_and_once(client: httpx.AsyncClient) -> None:
    listing = await listed(client, page("b", "a", "b", "c", "a"))

    assert (listing.models, listing.problem) == (("b", "a", "c"), "")


async def test_a_bare_list_is_a_list(client: httpx.AsyncClient) -> None:
    listing = await listed(client, http([{"id": "a"}, {"id": "b"}]))

    assert listing.models == ("a", "b")


async def test_a_server_without_models_has_none_and_no_problem(client: httpx.AsyncClient) -> None:
    listing = await listed(client, page())

    assert (listing.models, listing.problem) == ((), "")


@pytest.mark.parametrize("name", ["", " ", None, 5, ["a"], "x" * (MODEL_NAME_CHARS + 1), "a\nb", "\x1b[31mred"])
async def test_what_is_no_name_is_left_out(client: httpx.AsyncClient, name: Any) -> None:
    listing = await listed(client, page("first", name, "x" * MODEL_NAME_CHARS))

    assert listing.models == ("first", "x" * MODEL_NAME_CHARS)


async def test_no_more_names_than_the_limit_are_kept(client: httpx.AsyncClient) -> None:
    listing = await listed(client, page(*(f"m{number}" for number in range(MODELS + 7))))

    assert (MODELS, f"m{MODELS - 1}") == (len(listing.models), listing.models[-1])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (http({"error": KEY}, "401 Unauthorized"), "refused the key (401)"),
        (http({}, "403 Forbidden"), "refused the key (403)"),
        (http({}, "404 Not Found"), "has no list of models (404)"),
        (http({}, "429 Too Many Requests"), "answered with an error (429)"),
        (http({}, "500 Oops"), "answered with an error (500)"),
        (http(b"", "204 No Content"), "answered with an error (204)"),
        (http(b"<html>"), "answered nonsense"),
        (http(b""), "answered nonsense"),
        (http(b'{"data": [{"id": "\xff"}]}'), "answered nonsense"),
        (http(b"[" * 100_000), "answered nonsense"),
        (http({"data": {"id": "a"}}), "answered nonsense"),
        (http("a"), "answered nonsense"),
        (http(5), "answered nonsense"),
        (http(gzip.compress(b'{"data": []}'), Content_Encoding="gzip"), "answered nonsense"),
        (http(b'{"data": [', Content_Length="4000"), "answered nonsense"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "answered nonsense"),
        (b"", "answered nonsense"),
    ],
)
async def test_what_is_wrong_is_said_shortly(client: httpx.AsyncClient, answer: bytes, problem: str) -> None:
    listing = await listed(client, answer)

    assert ((), problem) == (listing.models, listing.problem)


async def test_a_server_that_wants_a_key_says_so(client: httpx.AsyncClient) -> None:
    async with serving(http({}, "401 Unauthorized")) as server:
        listing = await list_models(client, at(server.base_url, api_key=None), PATIENCE_S)

    assert listing.problem == "asks for a key (401)"


async def test_a_redirect_is_not_followed(client: httpx.AsyncClient) -> None:
    async with serving(page("stolen")) as elsewhere, serving(None) as server:
        server.answer = http({}, "302 Found", Location=f"{elsewhere.base_url}/models")
        client.follow_redirects = True

        listing = await list_models(client, at(server.base_url), PATIENCE_S)

    assert (listing.models, listing.problem) == ((), "answered with a redirect (302)")
    assert elsewhere.requests == []


async def test_a_body_over_the_limit_is_nonsense_and_not_read_to_its_end(client: httpx.AsyncClient) -> None:
    row = b'{"id": "a"},'
    body = b'{"data": [' + row * (BODY_BYTES // len(row) + 1) + b'{"id": "b"}]}'

    listing = await listed(client, http(body))

    assert len(body) > BODY_BYTES
    assert listing.problem == "answered nonsense"


async def test_a_body_just_under_the_limit_is_read(client: httpx.AsyncClient) -> None:
    body = b'{"data": [{"id": "a"}]' + b" " * (BODY_BYTES - 23) + b"}"

    listing = await listed(client, http(body))

    assert len(body) == BODY_BYTES
    assert listing.models == ("a",)


async def test_a_server_that_says_nothing_times_out(client: httpx.AsyncClient) -> None:
    began_s = time.monotonic()

    listing = await listed(client, None, timeout_s=IMPATIENCE_S)

    assert listing.problem == "timed out"
    assert time.monotonic() - began_s < PATIENCE_S / 2


async def test_a_server_that_drips_times_out_as_a_whole(client: httpx.AsyncClient) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(IMPATIENCE_S / 10)
        except ConnectionError:
            return
        finally:
            writer.close()

    listener = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        listing = await list_models(client, at(f"http://127.0.0.1:{port}/v1"), IMPATIENCE_S)

    assert listing.problem == "timed out"


async def test_a_closed_port_is_not_reachable(client: httpx.AsyncClient) -> None:
    async with serving(page("a")) as server:
        base_url = server.base_url

    listing = await list_models(client, at(base_url), PATIENCE_S)

    assert listing.problem == "is not reachable"


@pytest.mark.parametrize("base_url", ["", "proxy.example/v1", "ftp://proxy.example", "http://a:b:c/", "http:///v1"])
async def test_a_base_url_that_is_none_is_a_problem(client: httpx.AsyncClient, base_url: str) -> None:
    listing = await list_models(client, at(base_url), PATIENCE_S)

    assert listing.problem == "has no valid URL"


@pytest.mark.parametrize("key", ["sk-\n", "sk-é", "sk\x00"])
async def test_a_key_that_fits_no_header_is_a_problem_and_is_not_shown(client: httpx.AsyncClient, key: str) -> None:
    async with serving(page("a")) as server:
        listing = await list_models(client, at(server.base_url, api_key=key), PATIENCE_S)

    assert listing.problem == "has a key that no HTTP header can carry"
    assert server.requests == []


# --- discover ---


async def told(environ: Mapping[str, str], client: httpx.AsyncClient, *own: str, **local: str) -> dict[str, Listing]:
    """What is discovered, by vendor; local servers are looked for at ``local``, not on their real ports."""
    found = await discover(environ, client, probe_timeout_s=PATIENCE_S, own_urls=frozenset(own), local_urls=local)
    assert len({listing.found.vendor for listing in found}) == len(found)
    return {listing.found.vendor: listing for listing in found}


async def test_all_providers_of_the_environment_are_asked_at_once(client: httpx.AsyncClient) -> None:
    async with serving(page("gpt")) as openai, serving(http({}, "401 No")) as groq, serving(None) as deepseek:
        environ = {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": openai.base_url,
            "GROQ_API_KEY": KEY,
            "GROQ_BASE_URL": groq.base_url,
            "DEEPSEEK_API_KEY": KEY,
            "DEEPSEEK_BASE_URL": deepseek.base_url,
            "MISTRAL_API_KEY": KEY,
            "MISTRAL_BASE_URL": deepseek.base_url,
            "OLLAMA_BASE_URL": deepseek.base_url,
            "LMSTUDIO_BASE_URL": deepseek.base_url,
        }
        began_s = time.monotonic()

        listings = await discover(environ, client, probe_timeout_s=1.0)

        took_s = time.monotonic() - began_s
    assert {listing.found.vendor: listing.models or listing.problem for listing in listings} == {
        "openai": ("gpt",),
        "groq": "refused the key (401)",
        "deepseek": "timed out",
        "mistral": "timed out",
        "ollama": "timed out",
        "lmstudio": "timed out",
    }
    assert took_s < 3.5  # one after another they would take four


async def test_a_local_server_that_was_named_is_told_even_if_it_does_not_answer(client: httpx.AsyncClient) -> None:
    async with serving(page("llama3")) as server, serving(page("other")) as unnamed:
        environ = {"OLLAMA_HOST": f"0.0.0.0:{httpx.URL(server.base_url).port}", "LMSTUDIO_HOST": "no such host"}

        listings = await told(environ, client, ollama=unnamed.base_url, lmstudio=unnamed.base_url)

    assert {name: (row.found.origin, row.models or row.problem) for name, row in listings.items()} == {
        "ollama": ("OLLAMA_HOST", ("llama3",)),
        "lmstudio": ("LMSTUDIO_HOST", "has no valid URL"),
    }
    assert unnamed.requests == []


async def test_a_local_server_nobody_named_is_there_only_if_it_answers(client: httpx.AsyncClient) -> None:
    async with serving(http(b"<html>")) as page_of_another_program, serving(page("llama3")) as server:
        listings = await told({}, client, ollama=server.base_url, lmstudio=page_of_another_program.base_url)

    gone = await told({}, client, ollama=server.base_url)

    assert [(name, row.models) for name, row in listings.items()] == [("ollama", ("llama3",))]
    assert httpx.URL(server.base_url).netloc.decode() == listings["ollama"].found.origin
    assert gone == {}


def test_ollama_and_lm_studio_are_looked_for_on_their_ports() -> None:
    assert LOCAL_URLS == {"ollama": "http://127.0.0.1:11434/v1", "lmstudio": "http://127.0.0.1:1234/v1"}


async def test_a_gateway_on_ollamas_port_does_not_find_itself(client: httpx.AsyncClient) -> None:
    async with serving(page("auto")) as itself:
        port = httpx.URL(itself.base_url).port

        listings = await told({}, client, f"http://localhost:{port}/v1", ollama=itself.base_url)

    assert listings == {}
    assert itself.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "0.0.0.0"])  # noqa: S104  # no bind
async def test_an_override_that_names_this_gateway_is_ignored_with_a_note(client: httpx.AsyncClient, host: str) -> None:
    async with serving(page("gpt")) as itself:
        own = itself.base_url
        port = httpx.URL(own).port
        environ = {"VLLM_BASE_URL": f"http://{host}:{port}/v1/"}

        listings = await told(environ, client, own)

    assert listings["vllm"].problem == "was not asked: VLLM_BASE_URL points to this gateway itself"
    assert itself.requests == []


async def test_a_vendor_is_asked_at_its_own_address_where_the_override_names_this_gateway() -> None:
    asked: list[tuple[str, str]] = []

    async def internet(scope: Any, receive: Any, send: Any) -> None:
        asked.append((dict(scope["headers"])[b"host"].decode(), scope["path"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"data": [{"id": "gpt"}]}'})

    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://localhost:4000/v1"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(internet)) as client:
        listings = await told(environ, client, "http://127.0.0.1:4000/v1")

    assert ("api.openai.com", "/v1/models") in asked
    assert not any("localhost" in host for host, _ in asked)
    assert listings["openai"].found.base_url == "https://api.openai.com/v1"
    assert listings["openai"].models == ("gpt",)
    assert listings["openai"].note == "its base URL in the environment is this gateway's own and was ignored"


@pytest.mark.parametrize(
    "environ",
    [
        {"OPENAI_API_KEY": "tw-0123"},
        {"OPENAI_API_KEY": "an-admin-key", "TOLLWAY_API_KEY": "an-admin-key"},
    ],
)
async def test_a_key_of_the_gateway_is_sent_nowhere(client: httpx.AsyncClient, environ: dict[str, str]) -> None:
    async with serving(page("gpt")) as server:
        listings = await told({**environ, "OPENAI_BASE_URL": server.base_url}, client)

    assert listings["openai"].problem == "was not asked: OPENAI_API_KEY holds a key of this gateway"
    assert listings["openai"].found.api_key is None
    assert server.requests == []


async def test_nothing_that_is_told_holds_a_key(client: httpx.AsyncClient) -> None:
    async with serving(http({"error": f"bad key {KEY}"}, "401 Unauthorized")) as server:
        listings = await told({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url}, client)

    assert KEY not in repr(listings)


# --- what local servers say by their own APIs ---


async def asked(client: httpx.AsyncClient, vendor: str, address: str) -> Listing:
    found = Found(vendor=vendor, base_url=f"http://{address}/v1", api_key=None, origin=address)
    return await list_models(client, found, PATIENCE_S)


async def test_ollama_says_what_its_models_can(client: httpx.AsyncClient) -> None:
    ollama = Ollama()
    with running(ollama.answer) as address:
        listing = await asked(client, "ollama", address)

    assert listing.models == (*SHOWN, "removed:latest")
    assert listing.traits == {
        "qwen3-vl:8b": Traits(context_tokens=16_384, can=frozenset({"chat", "vision", "tools", "thinking"})),
        # As it is loaded.
        "gemma3:1b": Traits(context_tokens=4_096, can=frozenset({"chat"})),
        "nomic-embed-text:latest": Traits(context_tokens=2_048, can=frozenset({"embedding"})),
    }
    assert ollama.asked.count(("POST", "/api/show")) == 4


@pytest.mark.parametrize("older", [False, True])
async def test_lm_studio_says_what_its_models_can(client: httpx.AsyncClient, older: bool) -> None:
    with running(LMStudio(older=older).answer) as address:
        listing = await asked(client, "lmstudio", address)

    assert set(listing.models) <= set(listing.traits)
    assert listing.traits["text-embedding-nomic"].can == {"embedding"}


@pytest.mark.parametrize("vendor", ["ollama", "lmstudio"])
async def test_a_server_without_such_an_api_is_served_all_the_same(client: httpx.AsyncClient, vendor: str) -> None:
    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        return (200, {"data": [{"id": "m"}]}) if path == "/v1/models" else (500, "no")

    with running(answer) as address:
        listing = await asked(client, vendor, address)

    assert (listing.models, listing.traits, listing.problem) == (("m",), {}, "")


async def test_others_are_not_asked_for_what_only_those_have(client: httpx.AsyncClient) -> None:
    ollama = Ollama()
    with running(ollama.answer) as address:
        listing = await asked(client, "vllm", address)

    assert (listing.traits, ollama.asked) == ({}, [("GET", "/v1/models")])
