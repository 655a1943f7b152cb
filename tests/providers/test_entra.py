"""Tokens of an application, asked of a real server as Entra documents it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from providers.entra import SCOPE, Application
from providers.errors import NoCredentials
from providers.transport import Transport
from tests.fakes.posts import Post, Said, serving

APPLICATION = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "app"}


class Entra:
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
def entra() -> Iterator[Entra]:
    entra = Entra()
    with serving(entra.answer) as entra.url:
        yield entra


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.close()


async def test_an_application_gets_a_token_by_its_secret(entra: Entra, transport: Transport) -> None:
    environ = {**APPLICATION, "AZURE_CLIENT_SECRET": "s3cr&t", "AZURE_AUTHORITY_HOST": f"{entra.url}/"}

    token = await Application(environ, transport)()

    assert (token.text, token.lives_s) == ("ey.to.ken", 3599.0)
    assert entra.posts[0].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_an_application_gets_a_token_by_what_its_cluster_gives_it(
    entra: Entra, transport: Transport, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("ey.cluster.token\n")
    environ = {**APPLICATION, "AZURE_FEDERATED_TOKEN_FILE": str(file), "AZURE_AUTHORITY_HOST": entra.url}

    assert (await Application(environ, transport)()).text == "ey.to.ken"


async def test_a_refusal_is_told_by_its_code_alone(entra: Entra, transport: Transport) -> None:
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
