"""What providers keep for callers: files, batches of requests, and responses that they make in the background."""

from __future__ import annotations

from pydantic import Field

from proxy.config.section import Seconds, Section


class FilesConfig(Section):
    """Files that clients give to providers."""

    provider: str = Field(
        default="",
        description="The provider that gets a new file where the request names none. Empty: the only one that keeps files.",
    )
    max_bytes: int = Field(
        default=512 * 1024 * 1024, ge=1, description="The largest file, in bytes. 512 MiB is the most that OpenAI takes."
    )
    upload_timeout_s: Seconds = Field(default=3600.0, description="Seconds for one upload, from its head to the answer.")


class BackgroundConfig(Section):
    """Responses that providers make in the background, and how it is found out what they cost."""

    max_open: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000,
        description="Responses whose cost is not known yet; beyond them it is estimated when the request ends.",
    )
    poll_s: Seconds = Field(
        default=5.0, description="Seconds between the first looks at whether one is over, where its client does not look."
    )
    poll_max_s: Seconds = Field(
        default=60.0, description="The time between looks grows by half each time, up to so many seconds."
    )
    give_up_hours: int = Field(
        default=24, ge=1, le=8_760, description="Hours after which what went in is charged, if nobody can say what came out."
    )


class BatchesConfig(Section):
    """Batches that providers run for callers, and how it is found out what they cost."""

    max_open: int = Field(
        default=1_000, ge=1, le=100_000, description="Batches whose cost is not known yet; beyond them none is made."
    )
    max_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024,
        description="The largest batch whose requests come with it (Anthropic's), in bytes; all of it is in memory while it is "
        "read. 256 MB is the most that Anthropic takes.",
    )
    poll_s: Seconds = Field(default=15.0, description="Seconds between the first looks at whether a batch has ended.")
    poll_max_s: Seconds = Field(
        default=300.0, description="The time between looks grows by half each time, up to so many seconds."
    )
    read_timeout_s: Seconds = Field(
        default=3600.0, description="Seconds to read a batch's file: its answers, or its requests where it is under a budget."
    )
    give_up_hours: int = Field(
        default=192,
        ge=1,
        le=8_760,
        description="Hours after which a batch is charged what it may have cost at most, if nobody can say what it did.",
    )
