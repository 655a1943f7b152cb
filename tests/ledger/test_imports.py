"""What the ledger brings into a process, and what it knows of the rest."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = ("ledger.adapters.litellm_prices", "ledger.adapters.genai_prices")
SERVING = (
    "ledger.adapters.sqlite",
    "ledger.adapters.sqlite_facts",
    "ledger.adapters.aliases",
    *LISTS,
    "ledger.journal.reports",
    "ledger.cli",
)
HEAVY = {"sqlalchemy", "alembic", "litellm", "genai_prices", "pydantic"}


def test_a_serving_process_loads_no_heavy_package() -> None:
    loaded = "; ".join(f"{name}.load()" for name in LISTS)
    code = f"import sys, {', '.join(SERVING)}; {loaded}; print(*sys.modules)"

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)

    assert {name.partition(".")[0] for name in child.stdout.split()} & HEAVY == set()


def test_the_ledger_knows_neither_the_proxy_nor_the_providers() -> None:
    imported = set()
    for path in (ROOT / "ledger").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}

    assert imported & {"proxy", "providers"} == set()
    assert "ledger" in imported
