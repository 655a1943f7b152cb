"""Google's tokens: a service account's, asked of a real server that checks what the account signed."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from providers.errors import NoCredentials
from providers.google import SCOPE, Account
from tests.fakes.posts import Post, Said, serving

EMAIL = "gateway@my-project.iam.gserviceaccount.com"


class Tokens:
    """Google's token service, which knows one service account."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.asked: list[dict[str, Any]] = []
        self.url = ""
        self.refuses = False

    def answer(self, post: Post) -> Said:
        signed, _, signature = parse_qs(post.body.decode())["assertion"][0].rpartition(".")
        decoded = [urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (*signed.split("."), signature)]
        self.key.public_key().verify(decoded[2], signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        self.asked.append(json.loads(decoded[1]))
        if self.refuses:
            return Said(400, "application/json", b'{"error":"invalid_grant","error_description":"Invalid JWT"}')
        said = {"access_token": f"ya29.{len(self.asked)}", "expires_in": 3599, "token_type": "Bearer"}
        return Said(200, "application/json", json.dumps(said).encode())

    def file(self, path: Path) -> str:
        """A key file of the account."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        said = {"type": "service_account", "client_email": EMAIL, "private_key": pem, "private_key_id": "1",
                "token_uri": f"{self.url}/token", "project_id": "my-project"}  # fmt: skip
        path.write_text(json.dumps(said))
        return str(path)


@pytest.fixture(scope="module")
def tokens() -> Iterator[Tokens]:
    tokens = Tokens()
    with serving(tokens.answer) as tokens.url:
        yield tokens


async def test_a_service_account_gets_tokens_by_its_file(tokens: Tokens, tmp_path: Path) -> None:
    account = Account(tokens.file(tmp_path / "key.json"))

    first, second = await account(), await account()

    assert first.text != second.text
    assert 3400 < first.lives_s <= 3600
    assert (tokens.asked[-1]["iss"], tokens.asked[-1]["scope"]) == (EMAIL, SCOPE)


async def test_the_default_credentials_are_used_where_no_file_is_named(
    tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", tokens.file(tmp_path / "key.json"))

    assert (await Account()()).text.startswith("ya29.")


async def test_a_refusal_is_told_without_its_details(tokens: Tokens, tmp_path: Path) -> None:
    tokens.refuses = True
    try:
        with pytest.raises(NoCredentials, match="RefreshError") as refused:
            await Account(tokens.file(tmp_path / "key.json"))()
    finally:
        tokens.refuses = False

    assert "JWT" not in str(refused.value)


@pytest.mark.parametrize(("text", "said"), [(None, "FileNotFoundError"), ("{", "JSONDecodeError"), ("{}", "MalformedError")])
async def test_a_file_that_is_none_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "key.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(NoCredentials, match=said) as refused:
        await Account(str(file))()

    assert str(tmp_path) not in str(refused.value)
