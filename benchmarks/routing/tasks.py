"""Which kind of task a dataset is of, by its name: what a request of it would have been taken for.

Only for outcomes without the prompts' texts; with them, the router's own features decide.  The first pattern that is found
in a name counts (lower case, hyphens between words); a dataset that none fits is ``general``, and the report names it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from proxy.routing.kinds import KINDS

DEFAULT: Final = "general"

TABLE: Final = (
    ("vision", r"mmmu|mathvista|chartqa|charxiv|docvqa|textvqa|vqa|mmbench|\bocr|screenspot|video|omnidoc"),
    ("knowledge", r"mmlu"),
    ("agentic", r"\bswe|terminal|\btau\b|tau-?[23²]|bfcl|toolbench|tool-?use|agent|webarena|browse|gaia|osworld|mcp|alfworld"),
    ("long_context", r"longbench|l-?eval|infinite-?bench|needle|niah|ruler|mrcr|lcr|narrative-?qa|quality-long|long"),
    (
        "coding",
        (
            r"humaneval|mbpp|livecodebench|lcb|codeforces|code|apps\b|ds-?1000|evalplus|bigcode|scicode|spider|\bbird\b|sql"
            r"|kernel|program|repo"
        ),
    ),
    ("math", r"gsm|math|aime|amc|hmmt|svamp|asdiv|aqua|minerva|olympiad|imo|putnam|theorem|omni-?math|finqa|tatqa|arithmetic"),
    ("reasoning", r"chess|knight|\bkk\b"),
    ("instruction", r"ifeval|if-?bench|followbench|instruct"),
    (
        "reasoning",
        (
            r"gpqa|bbh|big-?bench|arc-?agi|hle|humanitys-last|musr|zebra|logiqa|reclor|folio|proofwriter|prontoqa|logic"
            r"|korbench|kor-?bench|livebench-reasoning|puzzle|reason|superglue-(rte|cb|wsc|wic)|causal|\bsnli|mnli|anli"
        ),
    ),
    (
        "knowledge",
        (
            r"arc\b|arc-?(c|e|challenge|easy)\b|truthfulqa|triviaqa|natural-?questions|\bnq\b|simpleqa|chinesesimpleqa|facts"
            r"|med-?qa|medmcqa|pubmedqa|med|bio|sci-?q|openbookqa|obqa|c-?eval|cmmlu|agieval|popqa|pop-?qa|law|legal|lawbench"
            r"|headlines|finance|geo|history|qanta|commonsense-?qa|csqa|boolq|piqa|siqa|social|winogrande|hellaswag|copa|world"
        ),
    ),
    ("long_context", r"hotpot|musique|2wiki|multi-?hop"),
    ("translation", r"wmt|translat|flores"),
    ("summarisation", r"summar|cnn|xsum|samsum"),
    ("general", r"mt-?bench|arena|alpaca|chat|drop|squad|race|writing|qa"),
)
"""The kind of task and what its datasets are called, read from above."""

_RULES: Final = tuple((task, re.compile(pattern)) for task, pattern in TABLE)


class TaskTable:
    """The table, with corrections.  ``named``: by dataset, exactly; they count first.

    Raises: LookupError, for a kind of task that the router does not know.
    """

    def __init__(self, named: dict[str, str] | None = None) -> None:
        self._named = dict(named or {})
        for dataset, task in self._named.items():
            if task not in KINDS:
                raise LookupError(f"{dataset}: there is no task {task!r}; there are: {', '.join(KINDS)}")

    def of(self, dataset: str, /) -> tuple[str, bool]:
        """The kind of task, and whether the name told it."""
        if dataset in self._named:
            return self._named[dataset], True
        name = re.sub(r"[^a-z0-9²]+", "-", dataset.lower()).strip("-")
        found = next((task for task, pattern in _RULES if pattern.search(name)), None)
        return (DEFAULT, False) if found is None else (found, True)


def load(path: Path | None, /) -> TaskTable:
    """The table with the corrections of a JSON file: ``{"dataset": "task"}``.

    Raises: OSError, LookupError, ValueError.
    """
    if path is None:
        return TaskTable()
    try:
        return TaskTable(msgspec.json.decode(path.read_bytes(), type=dict[str, str]))
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: it has to be an object of datasets and tasks: {error}") from error
