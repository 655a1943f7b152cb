"""What the journal is told of a request: reservation, settlement, what is put right later; and the record of it."""

from __future__ import annotations

from typing import Literal

import msgspec

Quality = Literal["exact", "estimated", "held"]
"""How sure a charge is: by the provider's own usage; by our count; or held, where nobody knows whether there was one."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt's tokens in mutually exclusive buckets: no token is counted in two of them.

    ``input_tokens`` and ``output_tokens`` are the sums, as a provider's invoice would show them.  ``cache_write``: kept
    for five minutes, or for a time that the provider does not tell; ``cache_write_1h``: for an hour.
    ``web_searches``: searches that the provider ran and charges by the piece; no tokens.
    """

    input_uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    input_audio: int = 0
    output_text: int = 0
    reasoning: int = 0
    output_audio: int = 0
    cache_write_1h: int = 0
    cache_read_audio: int = 0
    input_image: int = 0
    output_image: int = 0
    web_searches: int = 0

    @property
    def input_tokens(self) -> int:
        """All tokens that went in: uncached, read from and written to the provider's cache, audio, images."""
        return (
            self.input_uncached
            + self.cache_read
            + self.cache_write
            + self.input_audio
            + self.cache_write_1h
            + self.cache_read_audio
            + self.input_image
        )

    @property
    def output_tokens(self) -> int:
        """All tokens that came out: text, reasoning, audio, images."""
        return self.output_text + self.reasoning + self.output_audio + self.output_image


class Pieces(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one attempt used that is charged by the piece and is no token.

    images: pictures that were made; image_size (``1024x1024``), image_quality: of each, as far as anybody says.
    characters: of a text that was spoken.  audio_ms: of sound that was listened to; spoken_ms: of sound that was made.
    queries: search units of a reranking.  others: things of which nobody but the provider knows what they cost.
    """

    images: int = 0
    image_size: str = ""
    image_quality: str = ""
    characters: int = 0
    audio_ms: int = 0
    spoken_ms: int = 0
    queries: int = 0
    others: int = 0


NO_PIECES = Pieces()


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A try is about to be sent.  Durable before its first byte goes upstream.

    It names everything that a record needs, so that a crash between here and the settlement loses nothing.
    ``input_tokens_estimate``: from the request's size; what is charged if the truth never arrives.
    ``user``, ``team``: whom the key belongs to just now; empty: nobody.  ``tags``: what the client wants it counted under.
    ``max_cost_nusd``: the most that it can cost, taken from the budget until it ends; ``None``: unknown.
    """

    request_id: str
    attempt: int
    at_us: int
    key_id: str
    endpoint: str
    model: str
    provider: str
    account: str
    upstream_model: str
    stream: bool
    input_tokens_estimate: int
    user: str = ""
    team: str = ""
    tags: tuple[str, ...] = ()
    max_cost_nusd: int | None = None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How a reserved try ended, if it may have cost something.

    ``cost_nusd``: ``None`` where no price is known, never 0.
    ``usage_raw``: the provider's usage object, byte for byte; empty if there was none.
    """

    request_id: str
    attempt: int
    at_us: int
    quality: Quality
    tokens: Tokens
    cost_nusd: int | None
    price_source: str
    usage_raw: bytes = b""


class Void(msgspec.Struct, frozen=True, kw_only=True):
    """A reserved try that cost nothing: it never reached the provider, or the provider refused it."""

    request_id: str
    attempt: int
    at_us: int
    reason: str


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """A settled try turned out to cost more, or less.  Only reconciliation writes it.

    ``cost_nusd``: the difference, with its sign.  ``evidence``: what it rests on, such as the id of a provider's usage
    report; for one try the same evidence counts once.
    """

    request_id: str
    attempt: int
    at_us: int
    cost_nusd: int
    reason: str
    evidence: str


class Adjusted(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment that was booked, and whose request it is: key, user, team; and when that came, by which it is counted."""

    request_id: str
    key_id: str
    user: str
    team: str
    at_us: int
    cost_nusd: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a stream has come: what is charged if the process dies before its end.  No entry, and not synced."""

    request_id: str
    attempt: int
    output_tokens: int


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try, as the receipt tells it.  ``outcome``: ``ok`` or the error's code.  Times in microseconds.

    kind: why it was made, if it is not the first: ``retry``, ``fallback``, ``hedge``, ``probe``, ``continuation``.
    fault: whose it was that it failed.  waited_us: how long the request was kept waiting for it.
    cost_nusd: ``None``: unknown; 0 of what was voided.  pieces: what it used beside tokens.
    """

    attempt: int
    provider: str
    account: str
    upstream_model: str
    outcome: str
    status: int | None = None
    duration_us: int = 0
    ttfb_us: int | None = None
    upstream_request_id: str = ""
    error: str = ""
    kind: str = ""
    fault: str = ""
    waited_us: int = 0
    cost_nusd: int | None = None
    pieces: Pieces = NO_PIECES


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request, whatever happened to it.  Exactly one is written for each.

    ``outcome``: ``ok``, ``client_closed``, ``interrupted`` (recovered after a crash), or the error's code.
    ``status``: what the client was sent (499 if it had left, 0 if nobody knows).
    ``cost_nusd``: the sum over its attempts; ``None`` if any of them has no known price.
    ``cache``: what our own cache did: ``hit``, ``miss``, ``joined``, ``bypass``; empty: it was off.
    ``saved_nusd``: what an answer that was not asked for anew would have cost; 0 where its price is unknown.
    """

    request_id: str
    at_us: int
    key_id: str
    endpoint: str
    model: str
    provider: str
    upstream_model: str
    answered_model: str
    stream: bool
    status: int
    outcome: str
    quality: Quality
    tokens: Tokens
    cost_nusd: int | None
    price_source: str
    duration_us: int
    ttfb_us: int | None
    attempts: tuple[AttemptRecord, ...]
    usage_raw: bytes = b""
    user: str = ""
    team: str = ""
    tags: tuple[str, ...] = ()
    cache: str = ""
    saved_nusd: int = 0
