"""docs/routing.md says what the code does."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from proxy.config import PolicyConfig
from proxy.routing.constraints import _FIELDS
from proxy.routing.kinds import KINDS, POLICY_NAMES
from proxy.routing.policy import Rule

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")


def test_every_kind_of_task_has_its_row() -> None:
    rows = [f"| `{name}` | {kind.task} | {kind.output_tokens} |" for name, kind in KINDS.items()]

    assert [row for row in rows if row not in PAGE] == []


def test_every_policy_rule_and_field_is_told() -> None:
    words = [*POLICY_NAMES, *_FIELDS, *(rule for rule in get_args(Rule) if rule != "throughput")]

    assert [word for word in words if f"`{word}`" not in PAGE] == []


def test_every_rule_can_be_configured() -> None:
    annotation = str(PolicyConfig.model_fields["rule"].annotation)

    assert [rule for rule in get_args(Rule) if rule != "throughput" and f"'{rule}'" not in annotation] == []
