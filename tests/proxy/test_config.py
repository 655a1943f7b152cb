"""What a configuration may say, and what is told to somebody who gets it wrong.

``data/bad_configs``: one mistake (or several) a file.  Its first lines are what must be said, ``# LINE:COLUMN: path: what``,
below the environment it is loaded with, ``# env: NAME=value``.  ``{known}`` stands for the known vendors.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from docs.generate import COMMAND, PAGES, ROOT, errors, main, stale_pages
from providers.openai.vendors import VENDORS
from proxy.config import (
    EXAMPLE_KEY,
    Config,
    ConfigError,
    LedgerConfig,
    ServerConfig,
    describe,
    document,
    fingerprint,
    home,
    key_bits,
    key_faults,
    load,
    shape,
)
from proxy.config.checks import KNOWN
from proxy.config.problems import hidden
from proxy.config.sources import leaves, variable

BAD = sorted((Path(__file__).parent / "data" / "bad_configs").glob("*.yaml"))
EXAMPLE = ROOT / "config.yaml"
GOOD_KEY = "9f4c1e7a0b3d5826e1c7f09a4b6d8352"
OTHER_KEY = "c28e5b90d7136af4f8021b6e93ad475c"
EXAMPLE_ENVIRON = {
    "OPENAI_API_KEY": "sk-1",
    "GROQ_KEY_A": "gsk-a",
    "GROQ_KEY_B": "gsk-b",
    "GROQ_KEY_C": "gsk-c",
    "COHERE_API_KEY": "co-1",
    "AZURE_OPENAI_API_KEY": "az-1",
    "WATSONX_API_KEY": "wx-1",
    "WATSONX_SPACE": "wx-2",
    "VLLM_KEY": "v",
    "OPS_KEY": GOOD_KEY,
    "AA_API_KEY": "aa-0123456789",
    "BATCH_KEY": OTHER_KEY,
}
CANARY = "canary-7Qx2mVt9"


def loaded(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {})


def refused(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, environ)
    return caught.value


def with_examples(text: str) -> str:
    """The annotated example with every example in it switched on, as its first lines say."""
    return re.sub(r"(?m)^( *)# ", r"\1", text)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_configuration_is_refused_with_every_place_reason_and_suggestion(path: Path) -> None:
    head = [line[2:] for line in path.read_text("latin-1").splitlines() if line.startswith("# ")]
    head = [line.encode("latin-1").decode("utf-8") for line in head]
    environ = dict(line.removeprefix("env: ").split("=", 1) for line in head if line.startswith("env: "))
    expected = [line.replace("{known}", ", ".join(sorted(KNOWN))) for line in head if not line.startswith("env: ")]

    with pytest.raises(ConfigError) as caught:
        load(path, environ)

    said = str(caught.value)
    assert expected == said.replace(f"{path}:", "").splitlines()
    assert len(expected) == len(caught.value.problems)
    assert "canary" not in said


def test_the_corpus_of_bad_configurations_has_not_shrunk() -> None:
    assert len(BAD) >= 83


def test_a_problem_names_the_file_as_the_user_gave_it(tmp_path: Path) -> None:
    error = refused(tmp_path, "server:\n  prot: 1\n")

    assert f"{tmp_path / 'config.yaml'}:2:3: server.prot: unknown key; did you mean 'port'?" == str(error)


@pytest.mark.parametrize(("name", "reason"), [("missing.yaml", "no such file or directory"), ("", "is a directory")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name, {})

    assert f"{tmp_path / name}: {reason}" == str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 10)) for c in range(98, 122)),
        b"[" * 200_000,
        b"{a: " * 50_000,
        b"- " * 100_000,
        b"a: [" + b"x," * 120_000 + b"]",
        b"&a " * 50_000,
        b"a: " + b"x" * 300_000,
        b"a: &a [" + b"x, " * 900 + b"]\n" + b"b: [*a, *a]\n",
    ],
    ids=["laughs", "lists", "mappings", "items", "values", "anchors", "bytes", "aliased"],
)
def test_a_yaml_bomb_is_refused_in_bounded_time(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_bytes(text)
    began_s = time.process_time()

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert len(caught.value.problems) == 1
    assert time.process_time() - began_s < 2.0  # 0.3 s here; without the bounds minutes, or all of the memory


def test_settings_of_later_sections_are_not_accepted_and_ignored(tmp_path: Path) -> None:
    later = ["redis"]

    error = refused(tmp_path, "".join(f"{name}: {{}}\n" for name in later) + "telemetry: {traces: {}}\n")

    assert [*later, "telemetry.traces"] == [shape.dotted(problem.path) for problem in error.problems]


scalars = (None, True, 0, -1, 10**6, 2.5, float("nan"), "", "x", "env:NOPE", "file:nope", "openai/gpt-5", "http://h/v1", "a b")
trees: tuple[Any, ...] = (
    [],
    [[None]],
    {},
    {"server": {"port": "x"}},
    [{"model": []}, {"weight": 1}],
    ["fast", "fast"],
    ["é", 3],
)
junk = st.sampled_from([*scalars, *trees]).map(deepcopy)
secret_junk = st.sampled_from([CANARY, CANARY + " x", CANARY + "\n", "é" + CANARY, "env:" + CANARY, [CANARY], {CANARY: 1}]).map(
    deepcopy
)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.data())
def test_whatever_a_file_says_it_is_loaded_or_refused_and_no_secret_is_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tree = yaml.safe_load(with_examples(EXAMPLE.read_text()))
    for _ in range(data.draw(st.integers(1, 4))):
        places = list(_places(tree))
        holder, key = places[data.draw(st.integers(0, len(places) - 1))]
        if isinstance(holder, dict) and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(["", "x", "port", "api_key", "openai", "a b", "_env_file"]))
        # Below a name of the user's own, such as a provider called api_key, what is no setting is no secret either.
        limits = tree.get("limits")
        limited = [limits.get(section) for section in ("keys", "users", "teams", "models")] if isinstance(limits, dict) else []
        named = any(holder is it for it in [*map(tree.get, ("providers", "models", "aliases", "policies", "keys")), *limited])
        holder[key] = data.draw(secret_junk if key in ("api_key", "key") and not named else junk)
    path = tmp_path_factory.getbasetemp() / "mutant.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")

    try:
        config = load(path, EXAMPLE_ENVIRON)
    except ConfigError as error:
        told = "".join(traceback.format_exception(error))
    else:
        told = repr(config) + describe(config)

    assert CANARY not in told


def _places(tree: Any) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from _places(value)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.one_of(st.binary(max_size=60), st.text(alphabet="ab:-[]{}&*!|>'\"#%@`\\\n\t ,?1~", max_size=60).map(str.encode)))
def test_whatever_bytes_are_parsed_they_are_yaml_or_a_fault(text: bytes) -> None:
    try:
        values = document.parse(text).values
    except document.FaultError as fault:
        assert fault.mark.line >= 1
        assert fault.mark.column >= 1
    else:
        assert values is None or isinstance(values, dict | list | str | int | float)


# --- what is accepted ------------------------------------------------------------------------------------------------


def test_without_a_file_and_an_environment_everything_is_a_default() -> None:
    config = load(None, {})

    assert Config() == config
    assert config.warnings == ()
    assert (config.server.host, config.server.port, config.server.max_body_bytes) == ("127.0.0.1", 4000, 32 * 1024 * 1024)
    assert config.providers == {}


def test_the_process_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_SERVER__PORT", "1")
    monkeypatch.setenv("SERVER", '{"port": 1}')

    ports = (load(None, {}).server.port, Config().server.port)

    assert ports == (4000, 4000)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "server:\nproviders:\nmodels:\nkeys:\nretries:\n", "\ufeffserver:\n"]
)
def test_an_empty_file_or_section_is_the_default(tmp_path: Path, text: str) -> None:
    assert Config() == loaded(tmp_path, text)


def test_a_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = loaded(tmp_path, "server: {port: 1}\n")

    with pytest.raises(ValidationError, match="frozen"):
        config.server.port = 2
    with pytest.raises(ValidationError, match="frozen"):
        config.server = ServerConfig()


def test_the_example_loads_as_it_stands_and_says_the_defaults() -> None:
    config = load(EXAMPLE, {})

    assert Config() == config
    assert config.warnings == ()


def test_the_example_loads_with_its_examples_switched_on(tmp_path: Path) -> None:
    config = loaded(tmp_path, with_examples(EXAMPLE.read_text()), EXAMPLE_ENVIRON)

    assert config.warnings == ()
    assert list(config.providers) == [
        "openai",
        "groq",
        "ollama",
        "my-vllm",
        "two-boxes",
        "bedrock",
        "vertex",
        "azure",
        "cohere",
        "watsonx",
    ]
    assert [(a.name, a.weight) for a in config.providers["groq"].named_accounts()] == [
        ("team-a", 2),
        ("team-b", 1),
        ("team-c", 1),
    ]
    assert list(config.models) == ["smart", "fast"]
    assert (
        (first := config.models["fast"].targets[0]).provider,
        first.upstream_model,
        first.weight,
    ) == ("groq", "llama-3.3-70b-versatile", 3)
    assert config.aliases == {"gpt-4": "openai/gpt-5", "gpt-4o-mini": "fast"}
    assert [declared.admin for declared in config.keys.values()] == [True, False]


def test_the_example_shows_every_setting() -> None:
    text = with_examples(EXAMPLE.read_text())

    shown = set(re.findall(r"([a-z_0-9]+):", text))

    assert set(_setting_names(Config)) - shown == set()


def _setting_names(annotation: Any) -> list[str]:
    if shape.is_section(annotation):
        return [name for key in shape.fields(annotation) for name in (key, *_setting_names(shape.child(annotation, key)))]
    inner = shape.child(annotation, 0)
    return [] if inner is None else _setting_names(inner)


def test_numbers_and_names_are_taken_as_they_are_written(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "server: {max_connections: 10_000, header_timeout_s: 5, body_timeout_s: 2.5e1}\n"
        "aliases: {4.1: openai/gpt-4.1, no: openai/12:30}\n",
    )

    assert (config.server.max_connections, config.server.header_timeout_s, config.server.body_timeout_s) == (10_000, 5.0, 25.0)
    assert config.aliases == {"4.1": "openai/gpt-4.1", "no": "openai/12:30"}


def test_an_alias_stands_for_what_its_anchor_holds(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "providers:\n  a: &a {type: openai, base_url: http://h/v1, idle_timeout_s: 9}\n  b: *a\n",
    )

    assert config.providers["a"] == config.providers["b"]


def test_a_base_url_loses_its_last_slash(tmp_path: Path) -> None:
    config = loaded(tmp_path, "providers: {a: {type: openai, base_url: http://h/v1/}}\n")

    assert config.providers["a"].base_url == "http://h/v1"


def test_accounts_have_names_and_addresses(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "providers:\n"
        "  one: {type: openai, base_url: http://a/v1, api_key: env:A}\n"
        "  many: {type: openai, base_url: http://a/v1, accounts: [{}, {name: x, base_url: http://b/v1}, {}]}\n",
        {"A": "1"},
    )

    (only,) = config.providers["one"].named_accounts()
    many = config.providers["many"].named_accounts()

    assert (only.name, only.base_url, only.api_key and only.api_key.get_secret_value()) == ("default", "http://a/v1", "1")
    assert [(a.name, a.base_url) for a in many] == [("1", "http://a/v1"), ("x", "http://b/v1"), ("3", "http://a/v1")]


# What some need instead of a key.
NEEDS = {
    "azure": "{base_url: 'https://a.test', models: [m]}",
    "bedrock": "{region: us-east-1}",
    "vertex": "{project: my-project}",
    "vertex-anthropic": "{project: my-project}",
}


def test_a_vendor_without_keys_needs_nothing_more(tmp_path: Path) -> None:
    keyless = [name for name in KNOWN if not VENDORS[name].needs_key]

    config = loaded(tmp_path, "providers:\n" + "".join(f"  {name}: {NEEDS.get(name, '')}\n" for name in keyless))

    assert keyless == list(config.providers)


def test_models_may_name_any_vendor_while_providers_are_found_by_themselves(tmp_path: Path) -> None:
    config = loaded(tmp_path, "models: {smart: {targets: [groq/llama, local/smollm2]}}\naliases: {small: local/smollm2}\n")

    assert [target.provider for target in config.models["smart"].targets] == ["groq", "local"]


def test_an_alias_may_stand_for_another(tmp_path: Path) -> None:
    config = loaded(tmp_path, "aliases: {a: b, b: openai/gpt-5}\n")

    assert config.aliases == {"a": "b", "b": "openai/gpt-5"}


def test_the_ledger_is_where_the_url_says_or_at_home(tmp_path: Path) -> None:
    relative = loaded(tmp_path, "ledger: {url: 'sqlite:///a/b.sqlite'}\n").ledger
    absolute = loaded(tmp_path, "ledger: {url: 'sqlite:////var/b.sqlite'}\n").ledger

    paths = [ledger.path(Path("/home/t")) for ledger in (relative, absolute, LedgerConfig())]

    assert [Path("a/b.sqlite"), Path("/var/b.sqlite"), Path("/home/t/ledger.sqlite")] == paths


def test_home_is_the_variable_or_the_platforms_folder() -> None:
    assert Path("/srv/tollway") == home({"TOLLWAY_HOME": "/srv/tollway"})
    assert home({}).name == "tollway"
    assert home({}) == home({"TOLLWAY_HOME": ""})


# --- the environment -------------------------------------------------------------------------------------------------


def test_a_variable_goes_before_the_file_and_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    config = loaded(tmp_path, "server: {port: 1, max_connections: 7}\n", {"TOLLWAY_SERVER__PORT": "8080"})

    assert (config.server.port, config.server.max_connections) == (8080, 7)


def test_a_variable_mends_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    assert loaded(tmp_path, "server: {port: many}\n", {"TOLLWAY_SERVER__PORT": "8080"}).server.port == 8080


def test_variables_take_the_type_of_their_setting(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        f"keys: {{ops: {{key: {GOOD_KEY}}}}}\n",
        {
            "TOLLWAY_KEYS__OPS__ADMIN": "true",
            "TOLLWAY_SERVER__HEADER_TIMEOUT_S": "2.5",
            "TOLLWAY_SERVER__HOSTS": '["a.example.com", b.example.com]',
            "TOLLWAY_SERVER__HOST": "1234",
            "TOLLWAY_TELEMETRY__LOGS__LEVEL": "debug",
            "TOLLWAY_RETRIES": "{max_attempts: 5}",
        },
    )

    assert config.keys["ops"].admin
    assert (
        config.server.header_timeout_s,
        config.server.hosts,
        config.server.host,
    ) == (2.5, ("a.example.com", "b.example.com"), "1234")
    assert (config.telemetry.logs.level, config.retries.max_attempts, config.retries.total_timeout_s) == ("debug", 5, 600)


def test_a_variable_finds_the_files_own_name_whatever_its_case_and_dashes(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "providers: {My-vLLM.2: {type: openai, base_url: http://h/v1}}\n",
        {"TOLLWAY_PROVIDERS__MY_VLLM_2__IDLE_TIMEOUT_S": "3", "TOLLWAY_PROVIDERS__GROQ__API_KEY": "gsk-1"},
    )

    assert {name: provider.idle_timeout_s for name, provider in config.providers.items()} == {"My-vLLM.2": 3, "groq": 60}


def test_every_setting_with_a_fixed_name_has_its_variable() -> None:
    unknown = []
    for path in leaves():
        try:
            load(None, {variable(path): "[canary"})
        except ConfigError as error:
            unknown += [problem for problem in error.problems if "unknown" in problem.what]

    assert unknown == []


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert Config() == load(None, {"TOLLWAY_SERVER__PORT": "", "TOLLWAY_NONSENSE": ""})


def test_variables_that_are_not_settings_are_left_alone() -> None:
    environ = {
        "TOLLWAY_HOME": "/x",
        "TOLLWAY_API_KEY": "weak",
        "TOLLWAY_CONFIG": "y",
        "TOLLWAYS": "1",
        # Kubernetes, for a service called tollway and one called tollway-redis
        "TOLLWAY_PORT": "tcp://10.0.0.1:4000",
        "TOLLWAY_SERVICE_HOST": "10.0.0.1",
        "TOLLWAY_SERVICE_PORT": "4000",
        "TOLLWAY_SERVICE_PORT_HTTP": "4000",
        "TOLLWAY_PORT_4000_TCP": "tcp://10.0.0.1:4000",
        "TOLLWAY_PORT_4000_TCP_ADDR": "10.0.0.1",
        "TOLLWAY_REDIS_PORT": "tcp://10.0.0.2:6379",
        "TOLLWAY_REDIS_SERVICE_HOST": "10.0.0.2",
    }

    assert Config() == load(None, environ)


# --- secrets ---------------------------------------------------------------------------------------------------------


def key_of(config: Config, name: str = "openai") -> str:
    secret = config.providers[name].api_key
    assert secret is not None
    return secret.get_secret_value()


def test_a_secret_comes_from_the_environment(tmp_path: Path) -> None:
    config = loaded(tmp_path, "providers: {openai: {api_key: env:A}}\n", {"A": " sk-1\n"})

    assert (key_of(config), config.warnings) == ("sk-1", ())


def test_a_secret_comes_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "openai").write_text("\nsk-1\n", encoding="utf-8")

    config = loaded(tmp_path, "providers: {openai: {api_key: file:secrets/openai}}\n")

    assert (key_of(config), config.warnings) == ("sk-1", ())


def test_a_secret_in_the_file_itself_works_and_is_warned_about(tmp_path: Path) -> None:
    config = loaded(tmp_path, f"providers:\n  openai:\n    api_key: {CANARY}\n")

    (warning,) = config.warnings
    assert key_of(config) == CANARY
    assert warning.startswith(f"{tmp_path / 'config.yaml'}:3:14: providers.openai.api_key: a secret in the file itself")
    assert CANARY not in warning


def test_a_secret_in_a_variable_is_a_secret_or_the_name_of_one() -> None:
    environ = {
        "TOLLWAY_PROVIDERS__OPENAI__API_KEY": "sk-1",
        "TOLLWAY_PROVIDERS__GROQ__API_KEY": "env:A",
        "TOLLWAY_PROVIDERS__XAI": "{accounts: [{api_key: env:A}]}",
        "A": "gsk-1",
    }

    config = load(None, environ)

    assert (key_of(config), key_of(config, "groq"), config.warnings) == ("sk-1", "gsk-1", ())
    assert SecretStr("gsk-1") == config.providers["xai"].accounts[0].api_key


def test_a_secret_file_is_not_read_without_end(tmp_path: Path) -> None:
    error = refused(tmp_path, "providers: {openai: {api_key: file:/dev/zero}}\n")

    assert "must not be longer than 16384 bytes" in str(error)


def test_no_secret_is_in_a_representation_a_summary_a_dump_or_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    caplog.set_level(logging.DEBUG)
    text = (
        f"providers:\n  openai: {{api_key: {CANARY}1}}\n  groq: {{api_key: env:A}}\n"
        f"  xai: {{accounts: [{{api_key: {CANARY}3}}]}}\n"
        f"keys: {{ops: {{key: {CANARY}{GOOD_KEY}}}}}\n"
    )

    config = loaded(tmp_path, text, {"A": CANARY + "2", "TOLLWAY_PROVIDERS__TOGETHER__API_KEY": CANARY + "4"})

    shown = [repr(config), str(config), describe(config), *config.warnings, repr(config.model_dump()), config.model_dump_json()]
    assert CANARY not in "".join(shown) + caplog.text
    assert key_of(config, "together") == CANARY + "4"


def test_no_secret_is_in_the_traceback_of_a_refusal(tmp_path: Path) -> None:
    error = refused(
        tmp_path,
        f"providers:\n  openai: {{api_key: {CANARY}, prot: {CANARY}}}\n  groq: {CANARY}\n"
        f"keys: {{ops: {{key: {CANARY}}}, sk-{'0123456789abcdef'}: {{}}}}\nledger: {{url: {CANARY}}}\n",
        {"TOLLWAY_SERVER__PORT": CANARY, "TOLLWAY_KEYS__A__KEY": CANARY + " "},
    )

    told = "".join(traceback.format_exception(error))
    assert CANARY not in told
    assert "0123456789abcdef" not in told


def test_what_looks_like_a_credential_is_hidden_wherever_it_stands() -> None:
    assert hidden("providers.sk-proj-0123456789abcdef: unknown key") == "providers.sk-…: unknown key"
    assert hidden("models.gpt-5-mini-2025-08-07-preview") == "models.gpt-5-mini-2025-08-07-preview"


@pytest.mark.parametrize(
    "key",
    [
        GOOD_KEY,
        OTHER_KEY.upper(),
        "tw-" + "kV7r0QwX2mZt9LpC4sYb8NfH3jGd6aUe1Ti5Ro_oWIk",
        "3f0b6c1e-9a57-4d28-b1e4-7c95d2a0f863",
        "q7x2m9v4k1z8c3b6n5t0r2w7y4p1",
        "Zm9yIHRlc3Rz+3xQ/9aKb2Lw7Yd=",
    ],
)
def test_a_random_key_of_128_bits_is_good_enough(key: str) -> None:
    assert key_bits(key) >= 128
    assert list(key_faults(SecretStr(key))) == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "hunter2",
        "tw-" + "x" * 60,
        "deadbeef" * 8,
        "0123456789abcdef" * 4,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "sk-1234567890abcdef1234567890abcdef",
        "changeme-changeme-changeme-changeme",
        "this-is-my-very-secret-admin-key-for-tollway",
        "correct-horse-battery-staple-correct-horse",
        "1" * 128,
        GOOD_KEY[:31],
    ],
)
def test_a_key_that_can_be_guessed_is_not(key: str) -> None:
    assert key_bits(key) < 128
    assert len(list(key_faults(SecretStr(key)))) == 1


def test_a_key_that_our_own_pages_show_is_refused() -> None:
    assert key_bits(EXAMPLE_KEY) >= 128
    assert len(list(key_faults(SecretStr(EXAMPLE_KEY)))) == 1


def test_our_pages_show_no_key_but_the_one_that_is_refused() -> None:
    pages = [EXAMPLE, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]

    shown = {key for page in pages for key in re.findall(r"tw-[A-Za-z0-9_-]{16,}", page.read_text(encoding="utf-8"))}

    assert {EXAMPLE_KEY} == shown


def test_fingerprints_tell_secrets_apart() -> None:
    assert fingerprint(SecretStr("a")) == fingerprint(SecretStr("a"))
    assert fingerprint(SecretStr("a")) != fingerprint(SecretStr("b"))
    assert re.fullmatch("[0-9a-f]{8}", fingerprint(SecretStr("a")))


# --- for people ------------------------------------------------------------------------------------------------------


def test_a_summary_says_what_a_configuration_means(tmp_path: Path) -> None:
    config = loaded(tmp_path, with_examples(EXAMPLE.read_text()), EXAMPLE_ENVIRON)

    assert f"""\
server     127.0.0.1:4000
ledger     sqlite:////var/lib/tollway/ledger.sqlite, durability process
providers  openai: 1 account
             default: key #{fingerprint(SecretStr("sk-1"))}
           groq: 3 accounts
             team-a: key #{fingerprint(SecretStr("gsk-a"))}, weight 2
             team-b: key #{fingerprint(SecretStr("gsk-b"))}
             team-c: key #{fingerprint(SecretStr("gsk-c"))}
           ollama: 1 account
             default: no key
           my-vllm at http://10.0.0.5:8000/v1: 1 account, models llama-3.3-70b
             default: key #{fingerprint(SecretStr("v"))}
           two-boxes: 2 accounts
             left at http://10.0.0.6:8000/v1: no key
             right at http://10.0.0.7:8000/v1: no key
           bedrock: 1 account
             default: signed in us-east-1, profile work
           vertex: 1 account
             default: token for project my-project in europe-west1
           azure at https://my-resource.openai.azure.com: 1 account, models gpt-4o
             default: key #{fingerprint(SecretStr("az-1"))}
           cohere: 1 account
             default: key #{fingerprint(SecretStr("co-1"))}
           watsonx at https://us-south.ml.cloud.ibm.com through litellm as watsonx: 1 account, models ibm/granite-4-h-small
             default: key #{fingerprint(SecretStr("wx-1"))}
models     smart: openai/gpt-5, then fast
           fast: groq/llama-3.3-70b-versatile x3, my-vllm/llama-3.3-70b
aliases    gpt-4 -> openai/gpt-5
           gpt-4o-mini -> fast
policies   auto: weights, with abstain, caution, default, explore, fallback, fallbacks, percentile, sessions, weights
           auto:cheap: cheapest, with within_points
           auto:frugal: cheapest, with deny, min_quality
           auto:best: best, with max_cost_usd
           auto:value: value, with point_usd
           auto:code: the rule that it comes with, with allow, limits, task
keys       ops: key #{fingerprint(SecretStr(GOOD_KEY))}, admin, models all
           batch: key #{fingerprint(SecretStr(OTHER_KEY))}, not admin, models fast, groq/*, user alice@example.com
users      alice@example.com: team search, models all
teams      search: models groq/*, openai/*
budgets    everything: 500 USD a month for global
           search: 200000000 tokens a week for team:search
           trial: 1000 requests in all for key:batch""" == describe(config)


def test_a_summary_of_nothing_says_where_things_come_from_and_repeats_warnings(tmp_path: Path) -> None:
    bare = describe(load(None, {"TOLLWAY_SERVER__HOST": "::1"}))
    warned = describe(loaded(tmp_path, "providers: {openai: {api_key: sk-1}}\n"))

    assert "server     [::1]:4000" in bare
    assert "providers  found by themselves" in bare
    assert "warnings   " in warned
    assert "providers.openai.api_key: a secret in the file itself" in warned


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_current(page: str) -> None:
    assert PAGES[page]() == (ROOT / page).read_text(encoding="utf-8"), f"mend with: {COMMAND}"


def test_a_stale_or_missing_page_is_named(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    first, *others = PAGES
    (tmp_path / first).write_text(PAGES[first](), encoding="utf-8")

    assert others == stale_pages(tmp_path)


def test_the_generator_knows_one_option() -> None:
    assert f"usage: {COMMAND} [--check]" == main(["--chekc"])


def test_the_page_of_settings_names_every_setting_vendor_and_variable() -> None:
    page = PAGES["docs/configuration.md"]()

    missing = [
        name for name in _setting_names(Config) if not re.search(rf"[.`]{name}(?:[.`]|\[\])|## {name}$", page, re.MULTILINE)
    ]
    missing += [key for name in KNOWN for key in (name, *VENDORS[name].key_names) if f"`{key}`" not in page]

    assert missing == []


def test_the_page_of_errors_is_sorted_by_status_then_code() -> None:
    rows = re.findall(r"(?m)^\| (\d{3}) \| `\w+` \| `(\w+)` \|", errors())

    assert len(rows) > 10
    assert sorted(rows) == rows
