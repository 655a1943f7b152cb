"""The official OpenAI SDK for Node, unchanged, against a running proxy.  Needs node and npm; the lock file pins it by hash."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proxy.routing.policy import POLICIES
from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import config, tollway

CLIENT = Path(__file__).parent / "node"
FILES = ("package.json", "package-lock.json", "client.mjs")
TEXT = "".join(replies.WORDS)

pytestmark = pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed")


@pytest.fixture(scope="module")
def seen(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("node")
    for name in FILES:
        shutil.copy(CLIENT / name, folder)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=100)
    shared_upstream.serve("plain")
    setting = config(shared_upstream, {"openai": ["plain"]})
    with tollway(tmp_path_factory.mktemp("proxy"), setting) as proxy:
        environ = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:" + str(Path(shutil.which("node") or "").parent),
            "OPENAI_BASE_URL": proxy.base_url,
            "OPENAI_API_KEY": proxy.api_key,
            "MODEL": "openai/plain",
        }
        ran = subprocess.run(["node", "client.mjs"], check=False, cwd=folder, env=environ, capture_output=True, timeout=60)
        assert (ran.returncode, ran.stderr) == (0, b"")
        answer: dict[str, Any] = json.loads(ran.stdout)
        return {**answer, "receipt": proxy.receipt(answer["requestId"])}


def test_chat_answers_and_is_metered(seen: dict[str, Any]) -> None:
    usage = seen["receipt"]["usage"]

    assert seen["chat"] == TEXT
    assert usage["input_tokens"] + usage["output_tokens"] == seen["usage"]


def test_a_stream_arrives_whole_with_the_usage_that_was_asked_for(seen: dict[str, Any]) -> None:
    assert (seen["streamed"], seen["streamedUsage"]) == (TEXT, seen["usage"])


def test_a_response_answers(seen: dict[str, Any]) -> None:
    assert seen["response"] == TEXT


def test_the_models_are_listed(seen: dict[str, Any]) -> None:
    assert seen["models"] == ["openai/plain", *POLICIES]


def test_errors_have_the_classes_that_programs_catch(seen: dict[str, Any]) -> None:
    assert seen["unknownModel"] == {"name": "NotFoundError", "status": 404, "code": "model_not_found"}
    assert seen["badKey"] == {"name": "AuthenticationError", "status": 401, "code": "invalid_api_key"}
