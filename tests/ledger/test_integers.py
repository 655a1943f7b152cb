"""Money is integers: no float gets into what computes, keeps or sums it."""

import ast
from pathlib import Path

import pytest

LEDGER = Path(__file__).parents[2] / "ledger"
MONEY = sorted((*LEDGER.glob("prices/*.py"), *LEDGER.glob("journal/*.py"), *LEDGER.glob("records/*.py"), LEDGER / "cli.py"))


def floats(source: str) -> list[str]:
    """Float literals, the name ``float``, and true divisions, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            found.append(f"line {node.lineno}: {node.value}")
        elif isinstance(node, ast.Name) and node.id == "float":
            found.append(f"line {node.lineno}: float")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(f"line {node.lineno}: /")
        elif isinstance(node, ast.Import | ast.ImportFrom) and {"math", "statistics", "decimal"} & modules(node):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def modules(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module or ""}


@pytest.mark.parametrize("path", MONEY, ids=lambda path: str(path.relative_to(LEDGER)))
def test_the_code_of_money_has_no_float(path: Path) -> None:
    assert floats(path.read_text()) == []


@pytest.mark.parametrize("source", ["x = 1.5", "def f(x: float): ...", "y = a / b", "z /= 2", "import math"])
def test_the_check_sees_a_float(source: str) -> None:
    assert floats(source)
