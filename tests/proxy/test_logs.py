"""One logger: a line an event, bounded, and without what local variables hold."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from proxy import logs

SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """What pytest's own logging needs is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def configured(level: str = "info", style: Literal["auto", "json", "console"] = "json") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, style, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json() -> None:
    stream = configured()

    structlog.get_logger("x").info("started", url="http://a/\nb", count=3, at=None, name="é😀")

    (line,) = lines(stream)
    assert {key: line[key] for key in ("event", "level", "url", "count", "at", "name")} == {
        "event": "started", "level": "info", "url": "http://a/\nb", "count": 3, "at": None, "name": "é😀",
    }  # fmt: skip
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("level", "said"), [("debug", ["a", "b", "c", "d"]), ("info", ["b", "c", "d"]), ("warning", ["c", "d"]), ("error", ["d"])]
)
def test_what_is_below_the_level_is_not_said(level: str, said: list[str]) -> None:
    stream = configured(level)
    log = structlog.get_logger("x")

    for name, event in (("debug", "a"), ("info", "b"), ("warning", "c"), ("error", "d")):
        getattr(log, name)(event)

    assert [line["event"] for line in lines(stream)] == said


def test_no_field_is_longer_than_two_kilobytes() -> None:
    stream = configured()

    structlog.get_logger("x").warning("e" * 9000, body="b" * 9000)

    (line,) = lines(stream)
    assert [len(line[name]) for name in ("event", "body")] == [logs.FIELD_MAX + 1] * 2


def test_what_libraries_log_comes_the_same_way_from_warnings_on() -> None:
    stream = configured("debug")

    logging.getLogger("library").warning("%d of %s", 3, "it")
    logging.getLogger("library").info("quiet")

    assert [(line["event"], line["level"]) for line in lines(stream)] == [("3 of it", "warning")]


def failing(password: str) -> None:
    headers = {"authorization": f"Bearer {password}"}
    raise RuntimeError("broken" if headers else password)


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("by", ["ours", "library"])
def test_a_traceback_shows_no_local_variable(style: Literal["json", "console"], by: str) -> None:
    stream = configured("info", style)

    try:
        failing("sk-very" + "-secret")
    except RuntimeError:
        if by == "ours":
            structlog.get_logger("x").exception("failed")
        else:
            logging.getLogger("library").exception("failed")

    said = stream.getvalue()
    assert SECRET not in said
    assert "RuntimeError" in said
    assert "broken" in said


def test_a_traceback_is_one_line_of_json() -> None:
    stream = configured()

    try:
        failing("x")
    except RuntimeError:
        structlog.get_logger("x").exception("failed")

    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("failed", "error")


def test_what_json_does_not_know_is_said_as_text() -> None:
    stream = configured()

    structlog.get_logger("x").info("odd", value=ValueError("no"), kind=int)

    (line,) = lines(stream)
    assert (line["value"], line["kind"]) == ("no", "<class 'int'>")


@pytest.mark.parametrize("terminal", [True, False])
def test_auto_is_json_where_nobody_watches(terminal: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    logs.configure("info", "auto", stream)

    structlog.get_logger("x").info("started")

    assert stream.getvalue().startswith("{") != terminal
