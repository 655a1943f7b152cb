"""The options by which commands set what a key, a user or a team may do, and the body that they make of them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from proxy.commands.console import fail

ModelOption = Annotated[
    list[str] | None, typer.Option("--model", help="A pattern of models it may use, such as 'openai/*'; repeatable.")
]
RequestsOption = Annotated[int | None, typer.Option("--requests-per-minute", min=1, help="Requests a minute.")]
TokensOption = Annotated[int | None, typer.Option("--tokens-per-minute", min=1, help="Tokens a minute.")]
ConcurrentOption = Annotated[int | None, typer.Option("--concurrent", min=1, help="Requests under way at once.")]
MetadataOption = Annotated[str | None, typer.Option("--metadata", help="A JSON object of your own, at most 4 KiB.")]
TeamOption = Annotated[str | None, typer.Option("--team", help="The team it belongs to.")]
UnsetOption = Annotated[
    list[str] | None,
    typer.Option("--unset", metavar="NAME", help="Take a setting away, such as 'team' or 'tokens-per-minute'; repeatable."),
]

_UNSET: Final[dict[str, Any]] = {
    "models": [],
    "endpoints": [],
    "user": "",
    "team": "",
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "concurrent": None,
    "priority": "normal",
    "disconnect": "cancel",
    "durability": "",
    "metadata": {},
    "expires_at": None,
}
_OTHER_NAMES: Final = {"model": "models", "endpoint": "endpoints", "expires": "expires_at", "expires_days": "expires_at"}


def given(*, metadata: str | None = None, unset: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    """The body of a request: what was given, and what is to be taken away; exits if that cannot be understood."""
    body = {name: value for name, value in fields.items() if value is not None}
    if metadata is not None:
        try:
            body["metadata"] = json.loads(metadata)
        except (ValueError, RecursionError):
            fail('--metadata takes a JSON object, such as \'{"cost_centre": "42"}\'')
    for option in unset or ():
        name = option.replace("-", "_")
        name = _OTHER_NAMES.get(name, name)
        if name not in _UNSET:
            known = ", ".join(it.replace("_", "-") for it in _UNSET)
            fail(f"--unset {option}: there is no such setting; there are: {known}")
        body[name] = _UNSET[name]
    return body
