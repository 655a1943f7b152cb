"""Signatures, checked as AWS checks them; credentials, found where AWS's own tools find them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from providers.aws import ASK_AGAIN_S, Signer
from providers.bedrock import models
from providers.errors import NoCredentials
from providers.provider import HttpRequest
from tests.fakes import sigv4

REGION = "eu-west-1"
URL = models.url(f"https://bedrock-runtime.{REGION}.amazonaws.com", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "converse")
ARN = models.url(
    f"https://bedrock-runtime.{REGION}.amazonaws.com",
    "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/a.b-v1:0",
    "converse",
)
SECRETS = {"AKIAENV": "s3cr3t/env", "AKIAFILE": "s3cr3t/file", "AKIAOTHER": "s3cr3t/other", "ASIAPROCESS": "s3cr3t/process"}
TOKENS = {"ASIAPROCESS": "tok/en=="}


class Clock:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's AWS configuration, and nothing of whoever runs the tests."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def profile(home: Path, name: str, key: str) -> None:
    """Adds a profile with keys that never end."""
    with (home / "credentials").open("a") as file:
        file.write(f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {SECRETS[key]}\n")


def process(home: Path, ends_in: timedelta) -> Path:
    """Adds a profile whose credentials end and come from a process; returns the file that it writes a line to each time."""
    ends = (datetime.now(UTC) + ends_in).isoformat()
    said = {"Version": 1, "AccessKeyId": "ASIAPROCESS", "SecretAccessKey": SECRETS["ASIAPROCESS"],
            "SessionToken": TOKENS["ASIAPROCESS"], "Expiration": ends}  # fmt: skip
    runs = home / "runs"
    script = home / "process.py"
    script.write_text(f"open({str(runs)!r}, 'a').write('ran\\n')\nprint({json.dumps(said)!r})\n")
    (home / "config").write_text(f"[profile role]\ncredential_process = {sys.executable} {script}\n")
    return runs


def signer(clock: Clock | None = None, profile: str = "") -> Signer:
    return Signer(service="bedrock", region=REGION, profile=profile, clock_s=clock or Clock())


def request(url: str = URL, body: bytes = b'{"messages":[]}') -> HttpRequest:
    return HttpRequest(url, {"content-type": "application/json", "accept-encoding": "identity", "x-request-id": "r"}, body)


def problem(sent: HttpRequest, *, region: str = REGION, body: bytes | None = None, **headers: str) -> str:
    host, _, path = sent.url.removeprefix("https://").partition("/")
    return sigv4.problem(
        f"/{path}",
        {"host": host, **sent.headers, **headers},
        sent.body if body is None else body,
        secrets=SECRETS,
        tokens=TOKENS,
        service="bedrock",
        region=region,
        now=datetime.now(UTC),
    )


@pytest.mark.parametrize("url", [URL, ARN])
async def test_what_is_signed_is_taken(home: Path, url: str) -> None:
    profile(home, "default", "AKIAFILE")

    sent = await signer().signed(request(url))

    assert problem(sent) == ""
    assert sent.headers["content-type"] == "application/json"
    assert sent.url == url


async def test_what_was_changed_on_the_way_is_not(home: Path) -> None:
    profile(home, "default", "AKIAFILE")

    sent = await signer().signed(request())

    assert problem(sent, body=b"{}") == "the signature does not match"
    assert problem(sent, **{"content-type": "text/plain"}) == "the signature does not match"
    assert problem(sent, region="us-east-1") == f"signed for bedrock in {REGION}"


async def test_the_environment_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile(home, "default", "AKIAFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS["AKIAENV"])

    sent = await signer().signed(request())

    assert "Credential=AKIAENV/" in sent.headers["authorization"]
    assert problem(sent) == ""


async def test_a_profile_can_be_named(home: Path) -> None:
    profile(home, "default", "AKIAFILE")
    profile(home, "other", "AKIAOTHER")

    sent = await signer(profile="other").signed(request())

    assert "Credential=AKIAOTHER/" in sent.headers["authorization"]
    assert problem(sent) == ""


async def test_credentials_that_last_are_fetched_once_and_sent_with_their_token(home: Path) -> None:
    runs = process(home, timedelta(hours=1))
    clock = Clock()
    asked = signer(clock, "role")

    first = await asked.signed(request())
    clock.now_s += 3 * ASK_AGAIN_S
    second = await asked.signed(request())

    assert first.headers["x-amz-security-token"] == TOKENS["ASIAPROCESS"]
    assert [problem(first), problem(second)] == ["", ""]
    assert runs.read_text().count("ran") == 1


async def test_credentials_that_are_about_to_end_are_fetched_anew(home: Path) -> None:
    runs = process(home, timedelta(minutes=12))
    clock = Clock()
    asked = signer(clock, "role")

    await asked.signed(request())
    await asked.signed(request())
    fetched = runs.read_text().count("ran")
    clock.now_s += ASK_AGAIN_S
    await asked.signed(request())

    # It looks once when it is loaded and, since they end soon, again when it is asked what they are.
    assert runs.read_text().count("ran") > fetched


async def test_keys_that_were_changed_are_noticed(home: Path) -> None:
    profile(home, "default", "AKIAFILE")
    clock = Clock()
    asked = signer(clock)
    await asked.signed(request())
    (home / "credentials").unlink()
    profile(home, "default", "AKIAOTHER")

    before = await asked.signed(request())
    clock.now_s += ASK_AGAIN_S
    after = await asked.signed(request())

    assert "Credential=AKIAFILE/" in before.headers["authorization"]
    assert "Credential=AKIAOTHER/" in after.headers["authorization"]


async def test_many_at_once_ask_once(home: Path) -> None:
    runs = process(home, timedelta(hours=1))
    asked = signer(profile="role")

    sent = await asyncio.gather(*(asked.signed(request()) for _ in range(20)))

    assert {problem(it) for it in sent} == {""}
    assert runs.read_text().count("ran") == 1


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("", "", "found nowhere"),
        ("nobody", "", "ProfileNotFound"),
        ("bad", "[profile bad]\ncredential_process = false\n", "CredentialRetrievalError"),
    ],
)
async def test_what_cannot_be_had_is_said_without_its_details(home: Path, name: str, config: str, said: str) -> None:
    (home / "config").write_text(config)

    with pytest.raises(NoCredentials, match=said) as refused:
        await signer(profile=name).signed(request())

    assert str(home) not in str(refused.value)
    assert not refused.value.sent


def test_importing_loads_no_client_of_aws() -> None:
    code = "import sys, providers.aws, providers.bedrock.stream; print('botocore' in sys.modules)"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert ran.stdout.strip() == "False"


STRANGER = "AWS4-HMAC-SHA256 Credential=NOBODY/20260101/r/s/aws4_request"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"authorization": "Bearer x"}, "no signature"),
        ({"authorization": f"{STRANGER}, SignedHeaders=host, Signature={'0' * 64}"}, "unknown access key"),
    ],
)
def test_the_check_takes_no_other_authorization(headers: dict[str, str], said: str) -> None:
    found = sigv4.problem("/", headers, b"", secrets={}, tokens={}, service="s", region="r", now=datetime.now(UTC))

    assert said in found
