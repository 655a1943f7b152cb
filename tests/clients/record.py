"""Write down what coding agents send: ``python -m tests.clients.record`` after ``make clients``.

Each agent asks a provider's fake directly; its requests go to ``tests/e2e/data/agents/AGENT.jsonl``, one on a line.  What they
are made of stays, field by field; what they say in words, which is somebody else's text, and where they ran does not.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from tests.clients.coding_agents import MODELS, RUNS, SECRET, House, Outside
from tests.fakes.agents import FILE, KEY, agents
from tests.fakes.posts import Post

DATA = Path(__file__).parents[1] / "e2e" / "data" / "agents"
PLACE = "/home/somebody"
"""Where they ran, as it is written down."""
WORDS_MAX = 48
DROPPED = ("host", "content-length", "connection", "authorization", "x-api-key", "x-goog-api-key")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}")


def scrubbed(value: Any, folder: str) -> Any:
    """The value with short words only, and no trace of where it was made."""
    if isinstance(value, dict):
        return {name: said if (said := _described(name, it)) else scrubbed(it, folder) for name, it in value.items()}
    if isinstance(value, list):
        return [scrubbed(it, folder) for it in value]
    if not isinstance(value, str):
        return value
    if value.startswith("{") and value.endswith("}"):
        try:
            return json.dumps(scrubbed(json.loads(value), folder))
        except ValueError:
            pass
    ours = folder in value or SECRET in value
    text = _ID.sub("00000000-0000-0000-0000-000000000000", value.replace(folder, PLACE))
    return text if len(text) <= WORDS_MAX or (ours and len(text) < 5 * WORDS_MAX) else f"({len(text)} characters)"


def _described(name: str, value: Any) -> str:
    return f"({len(value)} characters)" if name == "description" and isinstance(value, str) and value else ""


def line(post: Post, folder: str) -> str:
    """One request as it is written down."""
    headers = {name: it if name == "anthropic-beta" else scrubbed(it, folder) for name, it in post.headers.items()}
    kept = {name: it for name, it in headers.items() if name not in DROPPED}
    return json.dumps({"path": post.path, "headers": kept, "body": scrubbed(json.loads(post.body), folder)}) + "\n"


def main() -> None:
    """All of them."""
    DATA.mkdir(parents=True, exist_ok=True)
    for name, run in RUNS.items():
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made).resolve()
            (folder / "desk").mkdir()
            (folder / "desk" / FILE).write_text(SECRET + "\n", encoding="utf-8")
            with agents(str(folder / "desk")) as (url, journal):
                run(House(url, KEY, folder, Outside()), MODELS[name])
            (DATA / f"{name}.jsonl").write_text("".join(line(it, made) for it in journal.seen), encoding="utf-8")


if __name__ == "__main__":
    main()
