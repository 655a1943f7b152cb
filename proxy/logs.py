"""One logger: structured lines on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import msgspec
import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FIELD_MAX = 2048
# Local variables hold keys and prompts: they never reach a log.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure(level: str, style: Literal["auto", "json", "console"], stream: TextIO = sys.stderr) -> None:
    """Set the logger up, once, before anything is logged.  What libraries log goes the same way, from warnings on."""
    json = style == "json" or (style == "auto" and not stream.isatty())
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _bounded,
    ]
    last = (
        structlog.processors.JSONRenderer(_encode)
        if json
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*shared, *([_TRACEBACKS] if json else []), last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = _Bridge()
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[level], logging.WARNING), force=True)


class _Bridge(logging.Handler):
    """The standard library's loggers, into ours."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)


def _bounded(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """No field longer than 2 kB, however long what came from outside was."""
    for name, value in event.items():
        if isinstance(value, str) and len(value) > FIELD_MAX:
            event[name] = f"{value[:FIELD_MAX]}…"
    return event


def _encode(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
