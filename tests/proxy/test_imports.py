"""What is loaded when Tollway serves: what is heavy is loaded by the first who needs it, or in another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {
    "litellm",
    "botocore",
    "boto3",
    "google",
    "googleapiclient",
    "openai",
    "anthropic",
    "sqlalchemy",
    "matplotlib",
    "tiktoken",
}


def test_serving_loads_neither_litellm_botocore_nor_googles_libraries() -> None:
    code = "import sys, proxy.app, proxy.cli, providers.bridge, providers.litellm_bridge; print(*sys.modules)"

    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    ).stdout.split()

    assert "proxy.app" in said
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in said)
