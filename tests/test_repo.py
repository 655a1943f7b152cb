"""The laws that no tool checks: of what is locked, of what is written, of where things are."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("proxy", "providers", "ledger")
# A recording or a price list is somebody else's text.
FOREIGN = re.compile(r"^tests/wire/.*\.jsonl$|^tests/.*/data/|\.lock$|(^|/)package-lock\.json$")


@cache
def tracked() -> tuple[str, ...]:
    """Every file of the repository; outside of a checkout, every file that is not made."""
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if git.returncode == 0 and git.stdout:
        names = git.stdout.decode().split("\0")
        return tuple(name for name in names if name and (ROOT / name).is_file())
    made = re.compile(r"(^|/)(\.|__pycache__/|node_modules/|build/|dist/)")
    paths = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())
    return tuple(sorted(name for name in paths if not made.search(name)))


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def files(pattern: str) -> list[str]:
    return [name for name in tracked() if re.search(pattern, name)]


MODULES = files(rf"^({'|'.join(PACKAGES)})/.*\.py$")
LOCKS = files(r"requirements[^/]*\.lock$")
NODE_LOCKS = files(r"(^|/)package-lock\.json$")
WRITTEN = [name for name in tracked() if not FOREIGN.search(name)]


# --- dependencies ------------------------------------------------------------------------------------------------------


def requirements(lock: str) -> Iterator[str]:
    """The lock's entries, each on one line."""
    for entry in text(lock).replace("\\\n", " ").splitlines():
        if entry.strip() and not entry.lstrip().startswith("#"):
            yield entry


def test_there_are_locks() -> None:
    assert {"requirements.lock", "requirements-dev.lock", "requirements-boot.lock"} <= set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_to_a_version_and_its_hashes(lock: str) -> None:
    pinned = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,._-]+\])?==[^\s;]+(\s*;[^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")

    assert [entry[:60] for entry in requirements(lock) if not pinned.fullmatch(entry)] == []


@pytest.mark.parametrize("lock", [*LOCKS, *NODE_LOCKS])
def test_a_lock_names_no_place_to_get_things_from(lock: str) -> None:
    places = re.compile(r"://|--?(extra-)?index|--find-links|-f\s|--trusted-host|\bgit\+|\bfile:|\"resolved\"")

    assert places.findall(text(lock)) == []


@pytest.mark.parametrize("lock", NODE_LOCKS)
def test_every_node_package_is_pinned_to_its_hash(lock: str) -> None:
    packages = {name: package for name, package in json.loads(text(lock))["packages"].items() if name}

    assert packages
    assert [name for name, package in packages.items() if not package.get("integrity", "").startswith("sha512-")] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_compromised_release_is_locked(lock: str) -> None:
    # Releases of litellm that carried somebody else's code.
    denied = re.compile(r"litellm==(1\.82\.7|1\.82\.8|1\.107\.\S*)\s")

    assert [entry[:40] for entry in requirements(lock) if denied.match(entry)] == []


def test_no_compromised_release_may_be_locked() -> None:
    assert 'constraint-dependencies = ["litellm!=1.82.7,!=1.82.8,!=1.107.*"]' in text("pyproject.toml")


def test_nothing_runs_by_itself_when_python_starts() -> None:
    # A .pth file's lines that begin with import are executed by every Python of the environment.
    ours = re.compile(r"distutils-precedence\.pth|_virtualenv\.pth|(__editable__.*|_?tollway)\.pth")
    folders = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    found = {path.name for folder in folders for path in folder.glob("*.pth")}

    assert {name for name in found if not ours.fullmatch(name)} == set()


# --- code --------------------------------------------------------------------------------------------------------------


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(text(module))


def parents(parsed: ast.Module) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(parsed) for child in ast.iter_child_nodes(node)}


def inside(node: ast.AST, above: dict[ast.AST, ast.AST]) -> str:
    """The function that the node is in; empty if it is in none."""
    while node in above:
        node = above[node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return node.name
    return ""


# Around a request, or around a background task; and where what was opened is closed before the error goes on.
BROAD = {
    ("ledger/journal/writer.py", "Exception"): "the writer's thread outlives what is wrong with a batch or a job",
    ("ledger/adapters/sqlite.py", "BaseException"): "what was opened is closed, and the error goes on",
    ("proxy/api/edge.py", "Exception"): "around a request: its client gets an answer whatever broke",
    ("proxy/api/sending.py", "Exception"): "around a stream that has begun: it must not look whole whatever broke",
    ("proxy/api/realtime.py", "Exception"): "around a handshake: its client gets an answer whatever broke",
    ("proxy/facts/sources.py", "Exception"): "around a background task: facts are no reason not to serve",
    ("providers/transport.py", "BaseException"): "a connection is not left half used, and the error goes on",
    ("providers/litellm_bridge.py", "Exception"): "around a request: litellm raises whatever it likes, and its asker is told",
    ("proxy/learning/judge.py", "Exception"): "around a background task: whatever an answer is made of, the next is looked at",
    ("proxy/batches/watcher.py", "Exception"): "around a background task: one batch's fault is not the others'",
    ("proxy/caching/flight.py", "Exception"): "around a background task: whoever waits for it is told",
    ("proxy/stages/meter.py", "BaseException"): "a request leaves its record whatever ended it, and the error goes on",
}


def broad(module: str) -> Iterator[tuple[str, str, bool]]:
    """The handlers that take everything: where, what, and whether the error goes on."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "BaseException"
            for kind in re.findall(r"\b(?:Base)?Exception\b", caught):
                goes_on = any(isinstance(it, ast.Raise) and it.exc is None for it in ast.walk(node))
                yield module, kind, goes_on


def test_everything_is_caught_only_where_there_is_a_reason() -> None:
    found = [it for module in MODULES for it in broad(module)]

    assert {(module, kind) for module, kind, _ in found} == set(BROAD)
    assert [module for module, kind, goes_on in found if kind == "BaseException" and not goes_on] == []


def orphans(parsed: ast.Module) -> list[str]:
    """The functions that make a task which no group waits for."""
    above = parents(parsed)
    groups = {
        ast.unparse(item.optional_vars)
        for node in ast.walk(parsed)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if item.optional_vars is not None and ast.unparse(item.context_expr).endswith("TaskGroup()")
    }
    found = []
    for node in ast.walk(parsed):
        if isinstance(node, ast.Call):
            owner, _, name = ast.unparse(node.func).rpartition(".")
            if name in ("create_task", "ensure_future", "run_coroutine_threadsafe") and owner not in groups:
                found.append(inside(node, above))
    return found


def test_every_task_has_an_owner() -> None:
    assert [f"{module}: {function}" for module in MODULES for function in orphans(tree(module))] == []


@pytest.mark.parametrize(
    ("source", "functions"),
    [
        ("import asyncio\nasyncio.create_task(f())", [""]),
        ("async def g():\n    loop.create_task(f())\n    asyncio.ensure_future(f())", ["g", "g"]),
        ("async def g():\n    async with asyncio.TaskGroup() as group:\n        group.create_task(f())", []),
    ],
)
def test_the_law_of_tasks_sees_one(source: str, functions: list[str]) -> None:
    assert orphans(ast.parse(source)) == functions


# What is too heavy for those who do not use it.
LAZY = {
    "providers/aws.py": "botocore: half a second and 27 MB, for those alone who have Bedrock",
    "providers/google.py": "google-auth: an extra, for those alone who have Vertex AI",
    "providers/litellm_bridge.py": "litellm: six seconds and 215 MB, in a process of its own",
}


def test_imports_stand_at_the_top() -> None:
    late = []
    for module in MODULES:
        above = parents(tree(module))
        for node in ast.walk(tree(module)):
            imports = isinstance(node, ast.Import | ast.ImportFrom)
            if isinstance(node, ast.Call):
                imports = ast.unparse(node.func) in ("__import__", "importlib.import_module", "import_module")
            if imports and inside(node, above) and module not in LAZY:
                late.append(f"{module}: {ast.unparse(node)}")

    assert late == []


def test_a_suppression_names_its_rule_and_its_reason() -> None:
    suppression = re.compile(r"#\s*(type:\s*ignore|noqa|pragma|pylint|mypy|ruff)\b.*")
    reasoned = re.compile(r"# (type: ignore\[[a-z, -]+\]|noqa: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*)  # \S.*")
    bare = [
        f"{module}: {found[0]}"
        for module in MODULES
        for line in text(module).splitlines()
        if (found := suppression.search(line)) and not reasoned.fullmatch(found[0])
    ]

    assert bare == []


# What decides which model answers knows models by the ledger alone.
DECIDES = files(
    r"^proxy/(routing|stages|limits)/.*\.py$|^proxy/(fields|policies|kinds|models|traffic|balance|live)\.py$"
    r"|^ledger/live/.*\.py$|^ledger/catalogue/(indices|merge|metrics|snapshot)\.py$"
)
MODEL = re.compile(
    r"(?i)[\"'/](gpt|claude|gemini|gemma|llama|mistral|mixtral|qwen|deepseek|grok|kimi|glm|command|nova|phi|sonar|o)-?\d[\w.-]*[\"']"
)


def test_no_score_price_or_latency_of_a_model_stands_in_what_decides() -> None:
    assert "proxy/routing/router.py" in DECIDES
    assert [f"{name}: {found[0]}" for name in DECIDES for found in MODEL.finditer(text(name))] == []


def test_the_law_of_models_sees_one() -> None:
    assert MODEL.search('QUALITY = {"claude-4.5-sonnet": 0.9}')
    assert MODEL.search("'openai/gpt-5'")


# --- tests -------------------------------------------------------------------------------------------------------------

# Modules whose tests do not have their name.
ELSEWHERE = {
    "proxy/commands/agents.py": "tests/e2e/test_agent_usage.py",
    "proxy/wiring/answers.py": "tests/e2e/test_cache.py and test_kill.py",
    "proxy/storage.py": "tests/e2e/test_files.py",
    "proxy/wiring/upkeep.py": "tests/e2e: what has to happen by itself, such as test_budgets.py and test_reconcile.py",
    "proxy/api/realtime.py": "tests/e2e/test_realtime.py",
    "proxy/commands/reconcile.py": "tests/e2e/test_reconcile.py",
    "ledger/errors.py": "nothing but classes; tests of what raises them",
    "ledger/facts.py": "nothing but structs; tests/ledger/catalogue",
    "ledger/ports.py": "nothing but protocols; tests of what stands behind them",
    "ledger/records/agents.py": "nothing but structs; tests/ledger/adapters/usage_logs",
    "ledger/records/decisions.py": "nothing but structs; tests/proxy/learning",
    "ledger/records/entries.py": "nothing but structs; tests/ledger/journal",
    "ledger/records/owners.py": "nothing but structs; tests/proxy/owners",
    "ledger/records/prices.py": "nothing but structs; tests/ledger/prices",
    "ledger/records/reports.py": "nothing but structs; tests/ledger/journal",
    "ledger/data/compile.py": "tests/ledger/test_compile.py",
    "ledger/data/compile_seed.py": "tests/ledger/test_compile_seed.py",
    "ledger/journal/books.py": "tests/ledger/journal/test_machine.py holds them against a model",
    "ledger/prices/compare.py": "tests/e2e/test_prices.py",
    "ledger/prices/days.py": "tests/proxy/test_config.py and tests/e2e/test_prices.py",
    "ledger/prices/listed.py": "tests/ledger/prices/test_book.py and adapters",
    "providers/canonical.py": "nothing but structs; tests/providers/openai/test_chat_codec.py and what else speaks it",
    "providers/reading.py": "tests/providers/openai/test_chat_codec.py",
    "providers/openai/chat_request.py": "tests/providers/openai/test_chat_codec.py",
    "providers/openai/chat_response.py": "tests/providers/openai/test_chat_codec.py",
    "providers/openai/chat_stream.py": "tests/providers/openai/test_chat_codec.py",
    "providers/openai/responses_items.py": "tests/providers/openai/test_responses_codec.py",
    "providers/openai/responses_request.py": "tests/providers/openai/test_responses_codec.py",
    "providers/openai/responses_response.py": "tests/providers/openai/test_responses_codec.py",
    "providers/openai/responses_decoder.py": "tests/providers/openai/test_responses_codec.py",
    "providers/openai/responses_encoder.py": "tests/providers/openai/test_responses_codec.py",
    "providers/anthropic/request.py": "tests/providers/test_anthropic.py",
    "providers/anthropic/response.py": "tests/providers/test_anthropic.py",
    "providers/anthropic/stream.py": "tests/providers/test_anthropic.py",
    "providers/bedrock/models.py": "tests/providers/bedrock/test_converse.py",
    "providers/bedrock/request.py": "tests/providers/bedrock/test_converse.py",
    "providers/bedrock/response.py": "tests/providers/bedrock/test_converse.py",
    "providers/bedrock/stream.py": "tests/providers/bedrock/test_converse.py",
    "providers/cohere/request.py": "tests/providers/cohere/test_chat.py",
    "providers/cohere/response.py": "tests/providers/cohere/test_chat.py",
    "providers/cohere/stream.py": "tests/providers/cohere/test_chat.py",
    "providers/gemini/request.py": "tests/providers/test_gemini.py",
    "providers/gemini/response.py": "tests/providers/test_gemini.py",
    "providers/gemini/stream.py": "tests/providers/test_gemini.py",
    "providers/usage/reader.py": "tests/providers/test_usage.py",
    "providers/usage/semantics.py": "tests/providers/test_semantics.py",
    "ledger/journal/connection.py": "tests/ledger/journal/test_writer.py",
    "ledger/migrations/env.py": "tests/ledger/test_schema.py",
    "providers/keeping.py": "nothing but structs and protocols; tests/providers/openai/test_stored.py",
    "providers/protocol.py": "nothing but structs and protocols; tests/providers/test_registry.py",
    "providers/errors.py": "tests/providers/test_transport.py walks its tree",
    "providers/inflate.py": "tests/providers/test_transport.py",
    "providers/provider.py": "tests/providers/openai/test_request.py",
    "providers/openai/vendors.py": "tests/docs/test_providers_page.py; one row each",
    "ledger/refresh/ports.py": "protocols, and the reader of commands; tests/proxy/facts/test_reader.py, tests/ledger/refresh",
    "ledger/refresh/source.py": "nothing but structs; tests/ledger/refresh",
    "proxy/api/sources.py": "tests/e2e/test_sources.py",
    "proxy/app.py": "tests/e2e",
    "proxy/deployments/catalogue.py": "tests/e2e and tests/proxy/deployments/test_discovery.py",
    "proxy/cli.py": "tests/e2e",
    "proxy/metering/holds.py": "tests/proxy/stages/test_budget.py, through the pipeline",
    "proxy/metering/costs.py": "tests/proxy/stages/test_meter.py, through the pipeline",
    "proxy/metering/records.py": "tests/proxy/stages/test_meter.py, through the pipeline",
    "proxy/metering/leases.py": "tests/proxy/stages/test_budget.py, through the pipeline",
    "proxy/limits/room.py": "tests/proxy/stages/test_fallback.py",
    "proxy/stores/store.py": "nothing but a port; tests/proxy/stores/contract.py",
    "proxy/commands/pricing.py": "tests/e2e/test_pricing.py",
    "proxy/routing/kinds.py": "a table; tests/proxy/routing/test_features.py",
    "proxy/routing/live.py": "a port, and nobody behind it; tests/proxy/routing/test_estimate.py",
    "proxy/routing/words.py": "a table; tests/proxy/routing/test_features.py",
    "proxy/commands/sources.py": "tests/e2e/test_sources.py",
    "proxy/deployments/upstreams.py": "tests/e2e",
    "proxy/api/admin/shapes.py": "tests/proxy/api/admin/test_keys.py and tests/proxy/api/admin/test_routes.py",
    "proxy/api/admin/teams.py": "tests/proxy/api/admin/test_routes.py and tests/e2e/test_owners.py",
    "proxy/api/admin/users.py": "tests/proxy/api/admin/test_routes.py and tests/e2e/test_owners.py",
    "proxy/commands/audit.py": "tests/e2e/test_owners.py",
    "proxy/commands/budgets.py": "tests/e2e/test_owners.py",
    "proxy/commands/console.py": "tests/e2e",
    "proxy/commands/keys.py": "tests/e2e/test_owners.py and tests/e2e/test_cli.py",
    "proxy/commands/owners.py": "tests/e2e/test_owners.py",
    "proxy/commands/server.py": "tests/e2e/test_owners.py",
    "proxy/commands/teams.py": "tests/e2e/test_owners.py",
    "proxy/commands/users.py": "tests/e2e/test_owners.py",
    "proxy/owners/roster.py": "tests/proxy/owners/test_directory.py",
    "proxy/owners/rules.py": "tests/proxy/owners/test_directory.py",
    "proxy/api/deployments.py": "tests/e2e/test_traffic.py",
    "proxy/commands/facts.py": "tests/e2e/test_facts.py",
    "proxy/api/facts.py": "tests/e2e/test_facts.py",
    "proxy/api/calibration.py": "tests/e2e/test_learning.py",
    "proxy/api/feedback.py": "tests/e2e/test_learning.py",
    "proxy/commands/learning.py": "tests/e2e/test_learning.py",
    "proxy/api/batches.py": "tests/e2e/test_batches.py",
    "proxy/api/files.py": "tests/e2e/test_files.py",
    "proxy/api/anthropic_kept.py": "tests/e2e/test_message_batches.py",
    "proxy/api/message_batches.py": "tests/e2e/test_message_batches.py",
    "proxy/batches/desk.py": "tests/e2e/test_batches.py and tests/e2e/test_message_batches.py",
    "proxy/api/health.py": "tests/e2e",
    "proxy/api/live.py": "tests/e2e/test_data_flow.py",
    "proxy/api/heads.py": "tests/e2e/test_inbound.py",
    "proxy/limits/counting.py": "tests/e2e/test_inbound.py",
    "proxy/limits/counted.py": "tests/proxy/stages/test_rate_limiter.py",
    "proxy/api/route.py": "tests/e2e/test_routing.py",
    "proxy/api/ledger.py": "tests/e2e",
    "proxy/api/paths.py": "tests/e2e",
    "proxy/api/arrival.py": "tests/proxy/api/test_edge.py",
    "proxy/api/peer.py": "tests/proxy/api/test_edge.py",
    "proxy/api/sending.py": "tests/proxy/api/test_edge.py",
    "proxy/api/agent_usage.py": "tests/e2e/test_agent_usage.py",
    "proxy/api/reconcile.py": "tests/e2e/test_reconcile.py",
    "proxy/api/rest.py": "tests/e2e",
    "proxy/api/server.py": "tests/e2e",
    "proxy/config/cache.py": "tests/proxy/test_config.py",
    "proxy/config/realtime.py": "tests/proxy/test_config.py",
    "proxy/config/checks.py": "tests/proxy/test_config.py",
    "proxy/config/describe.py": "tests/proxy/test_config.py",
    "proxy/config/document.py": "tests/proxy/test_config.py",
    "proxy/config/ledger.py": "tests/proxy/test_config.py",
    "proxy/config/limits.py": "tests/proxy/test_config.py",
    "proxy/config/load.py": "tests/proxy/test_config.py",
    "proxy/config/owners.py": "tests/proxy/test_config.py",
    "proxy/config/problems.py": "tests/proxy/test_config.py",
    "proxy/config/providers.py": "tests/proxy/test_config.py",
    "proxy/config/routing.py": "tests/proxy/test_config.py",
    "proxy/config/secrets.py": "tests/proxy/test_config.py",
    "proxy/config/section.py": "tests/proxy/test_config.py",
    "proxy/config/server.py": "tests/proxy/test_config.py",
    "proxy/config/settings.py": "tests/proxy/test_config.py",
    "proxy/config/shape.py": "tests/proxy/test_config.py",
    "proxy/config/sources.py": "tests/proxy/test_config.py",
    "proxy/config/stored.py": "tests/proxy/test_config.py",
    "proxy/config/traffic.py": "tests/proxy/test_config.py",
}


def untested() -> set[str]:
    """Modules without a test file of their name."""
    modules = (Path(name) for name in MODULES if not Path(name).name.startswith("__") and "/versions/" not in name)
    return {it.as_posix() for it in modules if not (ROOT / "tests" / it.parent / f"test_{it.name}").is_file()}


def test_every_module_has_its_test_file() -> None:
    assert untested() - set(ELSEWHERE) == set()


def test_what_is_tested_elsewhere_is_there_and_nowhere_else() -> None:
    places = {place for reason in ELSEWHERE.values() for place in re.findall(r"tests/[\w/.]*\w", reason)}

    assert set(ELSEWHERE) - untested() == set()
    assert {place for place in places if not (ROOT / place).exists()} == set()


def patched(parsed: ast.Module) -> list[str]:
    """Where a test exchanges a part of what it tests: by a patch, by a mock, or by an assignment to one of our modules."""
    ours = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(parsed)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0] in PACKAGES
    }
    found = []
    for node in ast.walk(parsed):
        match node:
            case ast.Import():
                found += [ast.unparse(node) for alias in node.names if MOCKS.match(alias.name)]
            case ast.ImportFrom(module=module, names=names):
                found += [ast.unparse(node)] * any(MOCKS.match(f"{module}.{alias.name}") for alias in names)
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[ast.Name(id=owner), *_]) if owner in ours:
                found.append(ast.unparse(node))
            case ast.Call(func=ast.Attribute(value=owner, attr="setattr" | "delattr" | "setitem" | "delitem")):
                found += [ast.unparse(node)] * ast.unparse(owner).endswith(("monkeypatch", "patch", "mp"))
            case ast.Assign(targets=targets):
                owners = [it.value.id for it in targets if isinstance(it, ast.Attribute) and isinstance(it.value, ast.Name)]
                found += [ast.unparse(node)] * any(owner in ours for owner in owners)
    return found


# Without one of these nothing is patched; to take all tests apart takes seconds.
SUSPECT = re.compile(r"mock|patch|(set|del)(attr|item)|^\s*(?!self\.)\w+\.\w+ = ", re.MULTILINE)
MOCKS = re.compile(r"(unittest\.)?mock(\.|$)|pytest_mock|mocker")


def test_no_test_patches_what_it_tests() -> None:
    tests = files(r"^tests/.*\.py$")

    assert "tests/test_repo.py" in tests
    assert {name: found for name in tests if SUSPECT.search(text(name)) and (found := patched(tree(name)))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "def test_it(monkeypatch):\n    monkeypatch.setattr('proxy.pipeline.STAGES', ())",
        "def test_it(monkeypatch):\n    monkeypatch.setitem(CHATS, 'a', 1)",
        "with pytest.MonkeyPatch.context() as patch:\n    patch.setattr(json, 'loads', None)",
        "import unittest.mock",
        "from unittest import mock",
        "from unittest.mock import patch",
        "from proxy import pipeline\npipeline.STAGES = ()",
        "from proxy import pipeline\nsetattr(pipeline, 'STAGES', ())",
        "import providers.sse as sse\nsse.split = None",
    ],
)
def test_the_law_of_patches_sees_one(source: str) -> None:
    assert SUSPECT.search(source)
    assert len(patched(ast.parse(source))) == 1


def test_the_environment_may_be_set() -> None:
    assert patched(ast.parse("def test_it(monkeypatch):\n    monkeypatch.setenv('PATH', '')\n    it.clock = 5")) == []


# --- words -------------------------------------------------------------------------------------------------------------

# Put together here, so that this file does not break its own laws.
WORDS = {
    "something left to do": rf"\b({'TO' + 'DO'}|{'FIX' + 'ME'}|{'XX' + 'X'}|{'HA' + 'CK'})\b",
    "a number in a tracker": rf"(?i)\b{'iss' + 'ue'} ?#|\b{'JI' + 'RA'}-\d",
    "a path of one machine": rf"{'/wo' + 'rk/'}|{'/ro' + 'ot/'}|{'/Us' + 'ers/'}[a-z]",
    "a merge that was not finished": "^(" + "<" * 7 + "|" + ">" * 7 + ") ",
}


@pytest.mark.parametrize("what", WORDS)
def test_nothing_that_is_written_speaks_of(what: str) -> None:
    pattern = re.compile(WORDS[what], re.MULTILINE)

    assert [f"{name}: {found[0]}" for name in WRITTEN if (found := pattern.search(text(name)))] == []


def test_what_is_written_is_utf8_and_ends_its_last_line() -> None:
    broken = []
    for name in WRITTEN:
        data = (ROOT / name).read_bytes()
        if b"\0" in data:
            continue
        try:
            data.decode()
        except UnicodeDecodeError:
            broken.append(name)
        if data and not data.endswith(b"\n"):
            broken.append(name)

    assert broken == []
