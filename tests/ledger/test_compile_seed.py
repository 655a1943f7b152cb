"""The seed is an excerpt of models.dev without what is not ours to give."""

import json
from pathlib import Path

from ledger.data import SEED_FILE
from ledger.data.compile_seed import read, seed, text

MODEL = """
name = "M"
release_date = "2026-01-01"
family = "m"
reasoning = true

[limit]
context = 1_000

[[benchmarks]]
name = "SWE-Bench Verified"
score = 70.5
source = "https://example.com/m"

[[benchmarks]]
name = "SciCode"
score = 40
source = "https://openrouter.ai/acme/m/benchmarks"

[[benchmarks]]
name = "Terminal-Bench"
score = 50
source = "https://artificialanalysis.ai/agents"

[[benchmarks]]
name = "Aider Polyglot"
score = 50
"""


def test_of_a_model_what_is_used_is_kept(tmp_path: Path) -> None:
    (tmp_path / "models" / "acme").mkdir(parents=True)
    (tmp_path / "models" / "acme" / "m.toml").write_text(MODEL, encoding="utf-8")

    made = seed(read(tmp_path), revision="abc", as_of_us=7)

    assert made["models"] == {
        "acme/m": {
            "name": "M",
            "release_date": "2026-01-01",
            "reasoning": True,
            "limit": {"context": 1000},
            "benchmarks": [{"name": "SWE-Bench Verified", "score": 70.5}],
        }
    }
    assert json.loads(text(made)) == made


def test_the_seed_that_is_here_says_where_it_is_from_and_has_nothing_of_others() -> None:
    found = json.loads(SEED_FILE.read_bytes())

    assert (found["source"], found["licence"].partition(",")[0]) == ("models.dev", "MIT")
    assert len(found["revision"]) == 40
    assert found["as_of_us"] > 1_780_000_000_000_000
    assert b"rtificial" not in SEED_FILE.read_bytes()
    assert (SEED_FILE.parent / "seed.LICENSE").read_text(encoding="utf-8").startswith("MIT License")
