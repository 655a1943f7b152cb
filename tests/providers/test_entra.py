"""Tokens of an application, asked of a real server as Entra documents it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from providers.entra import RESOURCE, SCOPE, Application, Entra, Machine
from providers.errors import NoCredentials
from providers.transport import Transport
from tests.fakes.posts import Post, Said, serving

APPLICATION = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "app"}


class Directory:
    """Takes one application's secret and its cluster's token."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.url = ""

    def answer(self, post: Post) -> Said:
        self.posts.append(post)
        form = {name: values[0] for name, values in parse_qs(post.body.decode()).items()}
        proven = form.get("client_secret") == "s3cr&t" or form.get("client_assertion") == "ey.cluster.token"
        if post.path != "/tenant/oauth2/v2.0/token" or not proven or form["scope"] != SCOPE:
            said = {"error": "invalid_client", "error_description": "AADSTS7000215: app 1234 of tenant 5678"}
            return Said(401, "application/json", json.dumps(said).encode())
        return Said(200, "application/json", b'{"token_type":"Bearer","expires_in":3599,"access_token":"ey.to.ken"}')


@pytest.fixture
def entra() -> Iterator[Directory]:
    entra = Directory()
    with serving(entra.answer) as entra.url:
        yield entra


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.close()


async def test_an_application_gets_a_token_by_its_secret(entra: Directory, transport: Transport) -> None:
    environ = {**APPLICATION, "AZURE_CLIENT_SECRET": "s3cr&t", "AZURE_AUTHORITY_HOST": f"{entra.url}/"}

    token = await Application(environ, transport)()

    assert (token.text, token.lives_s) == ("ey.to.ken", 3599.0)
    assert entra.posts[0].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_an_application_gets_a_token_by_what_its_cluster_gives_it(
    entra: Directory, transport: Transport, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("ey.cluster.token\n")
    environ = {**APPLICATION, "AZURE_FEDERATED_TOKEN_FILE": str(file), "AZURE_AUTHORITY_HOST": entra.url}

    assert (await Application(environ, transport)()).text == "ey.to.ken"


async def test_a_refusal_is_told_by_its_code_alone(entra: Directory, transport: Transport) -> None:
    environ = {**APPLICATION, "AZURE_CLIENT_SECRET": "wrong", "AZURE_AUTHORITY_HOST": entra.url}

    with pytest.raises(NoCredentials, match="invalid_client") as refused:
        await Application(environ, transport)()

    assert "5678" not in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "AZURE_TENANT_ID, AZURE_CLIENT_ID missing"),
        ({"AZURE_TENANT_ID": "t"}, "AZURE_CLIENT_ID missing"),
        (APPLICATION, "AZURE_CLIENT_SECRET"),
        ({**APPLICATION, "AZURE_FEDERATED_TOKEN_FILE": "/nowhere/token"}, "cannot be read"),
        ({**APPLICATION, "AZURE_CLIENT_SECRET": "s", "AZURE_AUTHORITY_HOST": "http://127.0.0.1:1"}, "could not be asked"),
    ],
)
async def test_what_is_missing_is_said(transport: Transport, environ: dict[str, str], said: str) -> None:
    with pytest.raises(NoCredentials, match=said):
        await Application(environ, transport)()


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"access_token":"t","expires_in":"soon"}'])
async def test_an_answer_that_is_no_token_is_none(transport: Transport, body: bytes) -> None:
    with serving(lambda _: Said(200, "application/json", body)) as url:
        environ = {**APPLICATION, "AZURE_CLIENT_SECRET": "s", "AZURE_AUTHORITY_HOST": url}
        with pytest.raises(NoCredentials, match="not a token"):
            await Application(environ, transport)()


class Metadata:
    """What answers on a machine of Azure's, by both of its ways."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ends: dict[str, str] = {"expires_in": "3599"}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        self.asked.append(head)
        line = urlsplit(head.split()[1])
        query = {name: values[0] for name, values in parse_qs(line.query).items()}
        asks = query.get("resource") == RESOURCE and query.get("client_id", "app") == "app" and head.startswith("get ")
        machine = line.path == "/metadata/identity/oauth2/token" and "\r\nmetadata: true\r\n" in head
        app = line.path == "/msi/token" and "\r\nx-identity-header: h3ader\r\n" in head
        good = asks and ((machine and query["api-version"] == "2018-02-01") or (app and query["api-version"] == "2019-08-01"))
        said = {"access_token": "ey.mi", "token_type": "Bearer", **self.ends} if good else {"error": "invalid_request"}
        body = json.dumps(said).encode()
        status = b"200 OK" if good else b"400 Bad Request"
        writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()


@pytest.fixture
async def metadata() -> AsyncIterator[tuple[Metadata, str]]:
    metadata = Metadata()
    server = await asyncio.start_server(metadata.serve, "127.0.0.1", 0)
    yield metadata, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("client", [{}, {"AZURE_CLIENT_ID": "app"}])
async def test_a_machine_gets_a_token_by_its_own_identity(
    metadata: tuple[Metadata, str], transport: Transport, client: dict[str, str]
) -> None:
    environ = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"{metadata[1]}/", **client}

    token = await Entra(environ, transport)()

    assert (token.text, token.lives_s) == ("ey.mi", 3599.0)
    assert ("client_id=app" in metadata[0].asked[0]) == bool(client)


async def test_an_app_gets_a_token_by_the_way_that_it_was_given(metadata: tuple[Metadata, str], transport: Transport) -> None:
    metadata[0].ends = {"expires_on": str(int(time.time()) + 1000)}
    environ = {"IDENTITY_ENDPOINT": f"{metadata[1]}/msi/token", "IDENTITY_HEADER": "h3ader"}

    token = await Entra(environ, transport)()

    assert token.text == "ey.mi"
    assert 0 < token.lives_s <= 1000


async def test_a_machine_that_has_no_identity_says_what_else_there_is(
    metadata: tuple[Metadata, str], transport: Transport
) -> None:
    environ = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": metadata[1], "AZURE_CLIENT_ID": "other"}

    with pytest.raises(NoCredentials, match=r"AZURE_TENANT_ID.*status 400, invalid_request"):
        await Machine(environ, transport)()


async def test_an_application_that_is_named_goes_before_the_machine(
    metadata: tuple[Metadata, str], entra: Directory, transport: Transport
) -> None:
    environ = {
        **APPLICATION,
        "AZURE_CLIENT_SECRET": "s3cr&t",
        "AZURE_AUTHORITY_HOST": entra.url,
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": metadata[1],
    }

    token = await Entra(environ, transport)()

    assert (token.text, metadata[0].asked) == ("ey.to.ken", [])
