"""The pages that are made from the code: ``python -m docs.generate`` writes them, ``--check`` says which are stale."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from docs import features
from providers.openai.vendors import VENDORS
from providers.provider import Protocol
from proxy.config import EXAMPLE_KEY, Config, shape
from proxy.config.checks import KNOWN
from proxy.config.document import MAX_ALIASED, MAX_BYTES, MAX_DEPTH
from proxy.config.secrets import MIN_KEY_BITS
from proxy.config.sources import variable
from proxy.errors import ProxyError, UpstreamRefused, anthropic_type, google_status, status_of

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python -m docs.generate"
_HEAD = f"<!-- Made by `{COMMAND}` from {{source}}: change that, not this page. -->\n"


def main(arguments: list[str]) -> str | None:
    """Write the pages, or with ``--check`` compare them.  Returns what is wrong, if anything is."""
    if arguments not in ([], ["--check"]):
        return f"usage: {COMMAND} [--check]"
    if not arguments:
        for path, page in PAGES.items():
            (ROOT / path).write_text(page(), encoding="utf-8")
        return None
    stale = stale_pages(ROOT)
    return f"stale: {', '.join(stale)}; mend with: {COMMAND} (or make docs)" if stale else None


def stale_pages(root: Path) -> list[str]:
    """The pages below ``root`` that are not what the code says, or not there."""
    return [path for path, page in PAGES.items() if _text(root / path) != page()]


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


# --- docs/configuration.md -------------------------------------------------------------------------------------------

_CONFIGURATION = """# Configuration

Everything has a default: Tollway runs without a file. `config.yaml` at the root of the repository is a complete example
that loads as it stands.

```
tollway serve --config config.yaml   # serves it
tollway check config.yaml            # says what it means, or everything that is wrong with it at once
```

The environment goes before the file, the file before the defaults. What is not in the tables below is refused, with
its place, what is wrong, and what was probably meant:

```
config.yaml:12:3: providers.opnai: not a known provider; did you mean 'openai'?
```
"""

_ENVIRONMENT = """## Environment variables

Every setting has a variable: `TOLLWAY_`, then its path in capitals, joined by two underscores. `TOLLWAY_SERVER__PORT=8080`
is `server.port`.

- Names of your own: `TOLLWAY_PROVIDERS__MY_VLLM__BASE_URL` is `providers.my-vllm.base_url` if the file has a `my-vllm`
  (case and `-`, `.`, `_` do not matter), otherwise the name is taken in lower case: `my_vllm`.
- Lists and whole sections are YAML or JSON: `TOLLWAY_SERVER__HOSTS='[llm.example.com]'`. A list replaces the file's, a
  section is merged into it.
- An empty variable counts as not set. An unknown one is refused, except those that Kubernetes sets for a service called
  `tollway`.

Three variables are not settings and have no place in the file:

| variable | meaning |
|---|---|
| `TOLLWAY_HOME` | The folder with Tollway's state. Default: the platform's folder for a user's data. |
| `TOLLWAY_API_KEY` | The first admin key, instead of a generated one; held to the same rules as `keys.<name>.key`. |
| `TOLLWAY_CONFIG` | The configuration file, where `--config` does not name one. |
"""

_SECRETS = f"""## Secrets

A setting marked *secret* takes one of three forms, always as the whole value; nothing is expanded inside of a text.

| form | meaning |
|---|---|
| `env:NAME` | The environment variable `NAME`. Not set, or empty: refused. |
| `file:PATH` | The file's content without the white space around it. A relative path starts at the configuration's folder. |
| anything else | The secret itself. It works, and `tollway check` warns: a file is copied, committed and backed up. |

A secret is visible ASCII without spaces. It is never printed, logged, or repeated in an error; `tollway check` shows a
fingerprint, eight digits by which two secrets can be told apart.

A key that opens Tollway (`keys.<name>.key`, `TOLLWAY_API_KEY`) must hold {MIN_KEY_BITS} bits of chance, as
`openssl rand -hex 32` makes them. Words, runs and repetitions count for little. Keys that our own pages show, such as
`{EXAMPLE_KEY}`, are refused.
"""

_YAML = f"""## YAML

The file is UTF-8, one document, at most {MAX_BYTES // 1024} KiB and {MAX_DEPTH} levels deep. Tags (`!…`) and duplicate
keys are refused. Anchors and aliases (`&name`, `*name`) work, for at most {MAX_ALIASED} values; there is no merge key (`<<`).
Types are those of YAML 1.2: `yes`, `no`, `on`, `off` and `12:30` are texts. A text that looks like a number needs quotes.
A key with nothing behind it counts as not there.
"""


def configuration() -> str:
    """``docs/configuration.md``, from the settings and the vendors."""
    sections = [_section_tables((name,), field) for name, field in Config.model_fields.items()]
    parts = [_HEAD.format(source="`proxy/config/`"), _CONFIGURATION, *sections, _ENVIRONMENT, _SECRETS, _discovery(), _YAML]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _section_tables(path: tuple[str, ...], field: FieldInfo) -> str:
    """One section: its heading, meaning, and a table of its keys; sections inside of it follow."""
    annotation: Any = field.rebuild_annotation()
    lines = [f"## {path[0]}", "", _sentence(field.description), ""]
    shown = path
    if shape.is_mapping(annotation):
        shown = (*path, "<name>")
        annotation = shape.child(annotation, "<name>")
    rows = list(_rows(shown, annotation)) if shape.is_section(annotation) else [_row(shown, annotation, field, "")]
    return "\n".join([*lines, *_table(("key", "type", "default", "variable", "meaning"), rows)]) + "\n"


def _rows(path: tuple[str, ...], section: Any) -> Iterator[tuple[str, ...]]:
    for name, field in shape.plain(section).model_fields.items():
        annotation: Any = field.rebuild_annotation()
        here = (*path, name)
        if shape.is_section(annotation):
            yield from _rows(here, annotation)
            continue
        if shape.is_mapping(annotation) and shape.is_section(named := shape.child(annotation, "<name>")):
            yield f"`{shape.dotted(here)}`", "sections by name", "", "", _sentence(field.description)
            yield from _rows((*here, "<name>"), named)
            continue
        yield _row(here, annotation, field, _default(field))
        item = shape.child(annotation, 0) if shape.is_list(annotation) else None
        if shape.is_section(item):
            yield from _rows((*path, f"{name}[]"), item)
        value = shape.child(annotation, "<name>") if shape.is_mapping(annotation) else None
        if shape.is_section(value):
            yield from _rows((*here, "<name>"), value)


def _row(path: tuple[str, ...], annotation: Any, field: FieldInfo, default: str) -> tuple[str, ...]:
    reachable = not any("[]" in key for key in path)  # a list is set as a whole
    name = f"`{variable(path)}`" if reachable else ""
    return f"`{'.'.join(path)}`", _type(annotation, field), default, name, _sentence(field.description)


def _type(annotation: Any, field: FieldInfo) -> str:
    if choices := shape.choices(annotation):
        return ", ".join(f"`{choice}`" for choice in choices)
    if shape.is_list(annotation):
        item = shape.child(annotation, 0)
        if choices := shape.choices(item):
            return f"list of {', '.join(f'`{choice}`' for choice in choices)}"
        return "list of sections" if shape.is_section(item) else f"list of {_TYPES[shape.plain(item)]}s"
    if shape.is_mapping(annotation):
        return f"{_TYPES[shape.child(annotation, '')]}s by name"
    name = _TYPES[shape.plain(annotation)]
    limits = _limits(field)
    return f"{name}, {limits}" if limits else name


_TYPES: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", SecretStr: "*secret*"}


def _limits(field: FieldInfo) -> str:
    names = {"gt": "more than", "ge": "at least", "le": "at most"}
    found = [(word, getattr(item, attribute, None)) for item in field.metadata for attribute, word in names.items()]
    return ", ".join(f"{word} {limit:g}" if limit < 1e6 else f"{word} {limit}" for word, limit in found if limit is not None)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"


_DISCOVERY = """## Providers that are found by themselves

Where `providers` is empty, Tollway looks for providers at its start: for keys in the environment (of several variables
for one vendor, the first that is set), and for Ollama and LM Studio on their ports. `OPENAI_BASE_URL` and the like give
a vendor another address, `OLLAMA_HOST` and `LMSTUDIO_HOST` take what Ollama takes there. With none of these Tollway serves
`local/smollm2`, a small model of its own. As soon as `providers` names one, only the named ones are used.

These vendors are known by name, so that `providers` needs neither `type` nor `base_url` for them:

"""


def _discovery() -> str:
    rows = [
        (
            f"`{name}`",
            f"`{VENDORS[name].base_url}`",
            ", ".join(f"`{key}`" for key in VENDORS[name].key_names),
            "yes" if VENDORS[name].needs_key else "no",
        )
        for name in KNOWN
    ]
    return _DISCOVERY + "\n".join(_table(("name", "address", "variables for the key", "needs a key"), rows)) + "\n"


# --- docs/errors.md --------------------------------------------------------------------------------------------------

_ERRORS = """# Errors

Every error has the shape of the client's protocol, whatever went wrong and whoever is at fault. At OpenAI's paths, and
at all of Tollway's own:

```json
{"error": {"message": "…", "type": "…", "param": null, "code": "…"}}
```

At Anthropic's (`/v1/messages…`, and `/v1/models` and `/v1/files` with `anthropic-version`), and at Gemini's (`/v1beta/…`),
where the code is in the header `x-tollway-error` too:

```json
{"type": "error", "error": {"type": "…", "message": "…"}, "request_id": "…"}
{"error": {"code": 429, "message": "…", "status": "…", "details": [{"@type": "…ErrorInfo", "reason": "the code", …}]}}
```

`code` is for programs and stays; `message` is for people and may change. *Retry* says whether the same request may
succeed later: the SDKs try 408, 409, 429 and 5xx again by themselves, unless `x-should-retry: false` comes with it.
`retry-after` says when, where that is known. In a stream that has begun, the same object comes as its last event, at
Anthropic's path as `event: error`, and as the last element of one of Gemini's that is an array. What a provider calls an
error of the request is passed on, if the client's protocol has that word.
"""


def errors() -> str:
    """``docs/errors.md``, from the tree under ``ProxyError``."""
    found = sorted(set(_tree(ProxyError)), key=lambda error: (error.status, error.code, error.__name__))
    rows = [
        (
            _statuses(error),
            f"`{error.type}`",
            f"`{error.code}`",
            f"`{anthropic_type(_status(error, 'anthropic'))}`",
            f"`{google_status(error.status)}`",
            _sentence(_first_line(error)),
            _retry(error),
        )
        for error in found
    ]
    table = "\n".join(_table(("status", "type", "code", "Anthropic's type", "Google's status", "when", "retry"), rows)) + "\n"
    return "\n".join(part.strip("\n") + "\n" for part in (_HEAD.format(source="`proxy/errors.py`"), _ERRORS, table))


def _tree(error: type[ProxyError]) -> Iterator[type[ProxyError]]:
    if error.__module__ == ProxyError.__module__:
        yield error
    for below in error.__subclasses__():
        yield from _tree(below)


def _status(error: type[ProxyError], protocol: Protocol) -> int:
    """The status of the class, as a client of that protocol is sent it."""
    made = error.__new__(error)
    return error.status if issubclass(error, UpstreamRefused) else status_of(made, protocol)


def _statuses(error: type[ProxyError]) -> str:
    other = _status(error, "anthropic")
    return str(error.status) if other == error.status else f"{error.status}; {other} at Anthropic's paths"


def _retry(error: type[ProxyError]) -> str:
    if not error.should_retry:
        return "no (`x-should-retry: false`)"
    return "yes" if error.status in (408, 429) or error.status >= 500 else "no"


def _first_line(error: type[ProxyError]) -> str:
    return (error.__doc__ or "").strip().partition("\n")[0]


# --- docs/providers.md -----------------------------------------------------------------------------------------------

_MADE = "<!-- Made by `{command}` from `docs/features.py`: {name}. -->"


def providers() -> str:
    """``docs/providers.md``: its own text, and the two tables that are asked of the code."""
    page = (ROOT / "docs/providers.md").read_text(encoding="utf-8")
    heads = ("provider", *(f"`{it}`" for it in features.CALLED), "usage of streams")
    page = _with_table(page, "endpoints", _table(heads, features.vendors()))
    page = _with_table(page, "media", _table(("provider", *(f"`{it}`" for it in features.MEDIA)), features.media()))
    return _with_table(page, "protocols", _table(("asked", *(f"`{it}`" for it in features.PROTOCOLS)), features.protocols()))


def _with_table(page: str, name: str, table: list[str]) -> str:
    """The page with the table between the two comments of that name."""
    begin, end = (_MADE.format(command=COMMAND, name=f"{name}{word}") for word in ("", " end"))
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return before + "\n".join([begin, "", *table, "", end]) + after


# --- Markdown --------------------------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines]


def _sentence(text: str | None) -> str:
    """``text`` in Markdown; docstrings have code in double backticks and two spaces between sentences."""
    return " ".join((text or "").replace("``", "`").split())


PAGES: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration,
    "docs/errors.md": errors,
    "docs/providers.md": providers,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
