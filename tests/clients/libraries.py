"""SDKs for Go, Java's HTTP client, the AI SDK and LangChain against a running proxy, whatever serves them: ``make clients``.

What is not on the machine, Go or Java, is not run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.coding_agents import MODELS, NODE, PACKAGES, SECRET, Served, house
from tests.fakes.agents import FILE, WORDS

__all__ = ["house"]

HERE = Path(__file__).parent
GO = shutil.which("go")
JAVA = shutil.which("java")
NAMES = ["alias", "provider and model"]


def named(house: Served, name: str) -> str:
    """A model's name: one without a slash, or one with."""
    with house.proxy.client() as client:
        rows = client.get(f"{house.root}/v1/models").json()["data"]
    return MODELS["codex"] if name == "alias" else next(row["id"] for row in rows if row["id"].endswith("/m"))


def environ(house: Served, name: str = "alias") -> dict[str, str]:
    return {"ROOT": house.root, "KEY": house.key, "MODEL": named(house, name), "FILE": str(house.folder / "desk" / FILE)}


# --- frameworks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_frameworks_have_the_file_read_and_go_on_with_the_conversation(house: Served, name: str) -> None:
    shutil.copy(HERE / "agents" / "frameworks.mjs", PACKAGES)

    ran = house.run([NODE, str(PACKAGES / "frameworks.mjs")], environ(house, name))

    assert (ran.returncode, ran.stderr) == (0, "")
    told = {what: text.strip() for what, text in json.loads(ran.stdout).items()}
    assert told == dict.fromkeys(told, f"The file says: {SECRET}")
    assert len(told) == 18
    assert house.proxy.open_reservations() == []
    assert house.outside.asked == []


# --- Go ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that uses the SDKs, built from what go.sum pins."""
    assert GO is not None
    made = tmp_path_factory.mktemp("go") / "clients"
    flags = {"GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    built = subprocess.run(
        [GO, "build", "-o", made, "."], cwd=HERE / "go", env={**os.environ, **flags}, check=False, timeout=900
    )
    assert built.returncode == 0
    return made


@pytest.mark.skipif(GO is None, reason="Go is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_the_sdks_for_go_read_what_was_said(house: Served, program: Path, name: str) -> None:
    ran = house.run([str(program)], environ(house, name))

    assert (ran.returncode, ran.stderr) == (0, "")
    told: dict[str, dict[str, Any]] = json.loads(ran.stdout)
    assert {sdk: (it["Whole"], it["Streamed"]) for sdk, it in told.items()} == dict.fromkeys(told, (WORDS, WORDS))
    path = {"file_path": str(house.folder / "desk" / FILE)}
    assert {sdk: json.loads(it["Called"]) for sdk, it in told.items()} == dict.fromkeys(told, path)
    assert {it["Unknown"] for it in told.values()} == {404}
    assert len({it["Tokens"] for it in told.values()}) == 1


# --- Java ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(JAVA is None, reason="Java is not installed")
def test_javas_own_client_offers_http_2_and_reads_its_answer(house: Served) -> None:
    assert JAVA is not None

    ran = house.run([JAVA, str(HERE / "java" / "Asks.java")], environ(house))

    assert ran.stdout.splitlines() == ["200 HTTP_1_1 true", "200 HTTP_1_1 true"], ran.stderr
