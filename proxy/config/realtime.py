"""Sessions over WebSockets."""

from __future__ import annotations

from pydantic import Field

from proxy.config.section import Seconds, Section


class RealtimeConfig(Section):
    """How long a session over a WebSocket may go on, and what it may hold."""

    total_timeout_s: Seconds = Field(
        default=3_600.0, description="Seconds a session lasts at most; OpenAI ends its own after an hour."
    )
    idle_timeout_s: Seconds = Field(
        default=900.0, description="Seconds in which neither side says anything, after which a session is ended."
    )
    ping_s: Seconds = Field(
        default=20.0,
        description="Seconds of silence after which the client and the provider are asked whether they are there, and within "
        "which they have to answer that.",
    )
    max_message_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024,
        le=1024**3,
        description="Largest message of either side, in bytes; a larger one ends the session.",
    )
