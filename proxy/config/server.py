"""Where Tollway listens, and what it tells about itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from proxy.config.section import Seconds, Section, Texts


class ServerConfig(Section):
    """Where Tollway listens, and what it takes from a client before it lets go."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Other machines reach Tollway only if this is not a loopback address.",
    )
    port: int = Field(default=4000, ge=0, le=65_535, description="TCP port to listen on; 0 takes any free one.")
    hosts: Texts = Field(
        default=(),
        description="Host names a request may carry besides the address it listens on. "
        "Empty: the loopback names and what containers call their host, when it listens on loopback; any valid name otherwise.",
    )
    origins: Texts = Field(
        default=(),
        description="Origins, such as `https://chat.example.com`, whose pages may call from a browser, besides pages of this "
        "machine; `*`: any. They need a key like everybody else.",
    )
    max_body_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024,
        le=1024**3,
        description="Largest request body, in bytes; a larger one is refused with 413.",
    )
    max_upload_bytes: int = Field(
        default=512 * 1024 * 1024,
        ge=1024,
        le=64 * 1024**3,
        description="Largest form with files (pictures, sound), in bytes; a larger one is refused with 413.",
    )
    max_whole_upload_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        le=64 * 1024**3,
        description="Largest form, in bytes, that is taken in whole before it is sent, so that it can be sent again. A larger "
        "one passes while it comes, and is tried once.",
    )
    max_uploads: int = Field(
        default=1_000, ge=1, le=100_000, description="Forms under way at once; more are answered with 503."
    )
    max_spooled_bytes: int = Field(
        default=2 * 1024**3,
        ge=0,
        le=1024**4,
        description="Most bytes of forms under way that are in files in TOLLWAY_HOME; more are answered with 503. "
        "Forms of up to 1 MiB have no file.",
    )
    upload_timeout_s: Seconds = Field(
        default=600.0,
        description="Seconds a client has to send a form with files; between two pieces of it no more than `body_timeout_s`.",
    )
    max_referenced_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        le=64 * 1024**3,
        description="Most bytes of answers of the Responses API that are remembered, in memory, because nobody else keeps them "
        "and clients may refer to what they consist of (`item_reference`); 0: none are.",
    )
    header_timeout_s: Seconds = Field(default=10.0, description="Seconds a client has to send a request's headers.")
    body_timeout_s: Seconds = Field(default=30.0, description="Seconds a client has to send a request's body.")
    write_timeout_s: Seconds = Field(
        default=60.0, description="Seconds a client may leave what is sent to it unread before it is cut off."
    )
    keep_alive_timeout_s: Seconds = Field(default=75.0, description="Seconds an idle connection is kept open.")
    drain_timeout_s: Seconds = Field(
        default=30.0,
        description="Seconds that requests under way may go on after SIGTERM; then they are ended with an error.",
    )
    key_in_query: bool = Field(
        default=False,
        description="Whether Gemini's clients may send their key in the URL (`?key=`), where proxies on the way log it.",
    )
    max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Open client connections; more are answered with 503."
    )


class LogsConfig(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least serious event that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: `console` on a terminal, `json` elsewhere."
    )


class TelemetryConfig(Section):
    """What Tollway tells about itself."""

    logs: LogsConfig = Field(default=LogsConfig(), description="Log lines.")
