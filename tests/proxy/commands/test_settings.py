"""From options to the body of a request."""

from __future__ import annotations

import pytest

from proxy.commands.settings import given


def test_what_was_given_is_sent_and_nothing_else() -> None:
    assert given(name="a", models=None, admin=False, concurrent=0) == {"name": "a", "admin": False, "concurrent": 0}


def test_metadata_is_a_json_object_in_text() -> None:
    assert given(metadata='{"a": [1]}') == {"metadata": {"a": [1]}}


def test_what_is_unset_is_sent_as_nothing() -> None:
    body = given(unset=["team", "tokens-per-minute", "model", "expires", "metadata"], team="x")

    assert body == {"team": "", "tokens_per_minute": None, "models": [], "expires_at": None, "metadata": {}}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metadata": "{"}, "JSON object"),
        ({"metadata": "[" * 100_000}, "JSON object"),
        ({"unset": ["colour"]}, "no such setting"),
    ],
)
def test_what_cannot_be_understood_is_said_so(
    options: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        given(**options)  # type: ignore[arg-type]  # what a user could type

    assert ended.value.code == 1
    assert said in capsys.readouterr().err
