"""What goes into the ledger and comes out of it: frozen structs, units in their names.

Money is integer nano-USD (``_nusd``), times are integer microseconds since the epoch (``_us``), prices are integer
nano-USD per million units (``_nusd_per_mtok``).  Nothing here is a float.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Quality = Literal["exact", "estimated", "held"]
"""How sure a charge is: by the provider's own usage; by our count; or held, where nobody knows whether there was one."""

By = Literal["day", "week", "month", "key", "user", "team", "model", "provider", "tag"]
"""What usage is summed by.  A request with several tags counts under each of them, one without any under none."""


BudgetUnit = Literal["usd", "tokens", "requests"]
"""What a budget counts: nano-USD; tokens, in and out; requests that were sent to a provider."""

BudgetPeriod = Literal["day", "week", "month", "total"]
"""For how long a budget's limit is: a day, an ISO week or a month, all of UTC; or for ever."""


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


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What each unit costs: nano-USD per million tokens, per request, per web search, per piece; ``None``: not known.

    A bucket without a price of its own is charged at the next more general one: everything that goes in at the input
    price (an hour's cache write at the plain cache write's, cached audio at the cache read's, where there is one),
    everything that comes out at the output price.  ``search_nusd``: ``None`` charges nothing for a search.
    Pieces (see ``Pieces``) have no more general price: ``image_nusd`` for a picture that was made, ``query_nusd`` for a
    search unit of a reranking; a million characters that were spoken; an hour of sound that was listened to or made.
    """

    input_nusd_per_mtok: int
    output_nusd_per_mtok: int
    cache_read_nusd_per_mtok: int | None = None
    cache_write_nusd_per_mtok: int | None = None
    input_audio_nusd_per_mtok: int | None = None
    reasoning_nusd_per_mtok: int | None = None
    output_audio_nusd_per_mtok: int | None = None
    request_nusd: int = 0
    cache_write_1h_nusd_per_mtok: int | None = None
    cache_read_audio_nusd_per_mtok: int | None = None
    input_image_nusd_per_mtok: int | None = None
    output_image_nusd_per_mtok: int | None = None
    search_nusd: int | None = None
    image_nusd: int | None = None
    query_nusd: int | None = None
    characters_nusd_per_mchar: int | None = None
    audio_nusd_per_hour: int | None = None
    spoken_nusd_per_hour: int | None = None


class ImageRate(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture of one size and quality costs.  size: ``1024x1024``.  Empty: of whatever size, or quality."""

    image_nusd: int
    size: str = ""
    quality: str = ""


class ContextTier(msgspec.Struct, frozen=True, kw_only=True):
    """A cliff: a request with more than ``above_tokens`` input tokens, cached ones too, is charged by ``rates`` whole."""

    above_tokens: int
    rates: Rates


class ServiceTier(msgspec.Struct, frozen=True, kw_only=True):
    """What a request costs that was served as ``name``: ``batch``, ``flex``, ``priority``."""

    name: str
    rates: Rates
    context_tiers: tuple[ContextTier, ...] = ()


class Price(Rates, frozen=True, kw_only=True):
    """A row of the price book: what one offer (model @ provider) costs, from when to when, and who says so.

    ``source`` names the list and the row.  ``context_tiers``: by rising ``above_tokens``; the last that is exceeded
    counts.  ``service_tiers``: those with a price of their own; any other is charged as standard.
    It holds from ``effective_from_us`` until just before ``effective_to_us``; ``None``: for ever.  ``daily_from_s`` and
    ``daily_to_s``: only between these seconds of the UTC day, half-open, over midnight where the first is the larger.
    ``images``: pictures that cost something else than ``image_nusd``.
    """

    source: str
    context_tiers: tuple[ContextTier, ...] = ()
    service_tiers: tuple[ServiceTier, ...] = ()
    effective_from_us: int | None = None
    effective_to_us: int | None = None
    daily_from_s: int | None = None
    daily_to_s: int | None = None
    images: tuple[ImageRate, ...] = ()


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The most tokens that a model takes and gives in one request; ``None``: nobody says.

    adaptive: it decides itself how much it thinks, and is told an effort instead of a budget.
    reasoning: it can think; only who is known not to does not.  always_thinks: it cannot be told not to.
    efforts: the words for how much that it takes, from the least; empty: nobody says.
    responses_only: OpenAI serves it by its Responses API and not by chat completions.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    adaptive: bool = False
    reasoning: bool = True
    always_thinks: bool = False
    efforts: tuple[str, ...] = ()
    responses_only: bool = False


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


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A flat fee for a provider's models: what is used under it costs its share of the fee.

    models: glob patterns of the provider's own names; empty: all of them.  It holds from ``from_us`` until just before
    ``to_us``; ``None``: for ever.  A month that it holds for in part costs that part, by days.
    """

    name: str
    provider: str
    month_nusd: int
    models: tuple[str, ...] = ()
    from_us: int | None = None
    to_us: int | None = None


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one period (UTC: ``2026-11-22``, ``2026-W47``, ``2026-11``), one model (``provider/upstream
    model``), one provider (empty: none was asked), one key (its id), one user or team (empty:
    nobody's), or one tag.

    label: the key's name, else empty.  failed: neither answered nor left by the client.  cached_tokens are part of
    input_tokens, reasoning_tokens of output_tokens.  cost_nusd: the sum of the known costs, with what reconciliation
    adjusted; ``None`` if none is known.  unpriced: requests whose cost is unknown.  estimated: requests whose tokens were
    counted by us, not by the provider; held: those of which nobody knows whether the provider worked at all.
    cached_requests: those that our own cache answered; saved_nusd: what their answers would have cost.
    subscription_nusd: its share of the subscriptions' fees.  nusd_per_mtok: cost and share for a million tokens, in and
    out; ``None`` without tokens.
    """

    group: str
    label: str
    requests: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nusd: int | None
    unpriced: int
    estimated: int
    held: int
    cached_requests: int = 0
    saved_nusd: int = 0
    subscription_nusd: int = 0
    nusd_per_mtok: int | None = None


class AgentUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One model call of a coding agent, as its own log tells it.

    event: what names it among all of the agent's calls, in whichever file it is told; of several with one name, as logs
    have them while an answer grows, the largest counts.  session, project, model, provider: empty where the log does not
    say.  project: a folder's name, or its path where that was asked for.  reported_nusd: the cost by the tool's own
    reckoning; kept beside, never charged by.
    """

    agent: str
    event: str
    at_us: int
    tokens: Tokens
    session: str = ""
    project: str = ""
    provider: str = ""
    model: str = ""
    service_tier: str = ""
    reported_nusd: int | None = None


class LogCursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far a log file is read.

    file_hash: of its path.  content_hash: of what stands at its beginning and just before ``offset_bytes``.  state: what its
    parser knows there.
    """

    file_hash: bytes
    agent: str
    size_bytes: int
    modified_ns: int
    offset_bytes: int
    content_hash: bytes
    state: bytes = b""


AgentRow = tuple[bytes, int, int, str, str, str, str, str, str, int, int, int, int, int, int, int, int | None]
"""An event as it is kept: the columns of ``agent_usage``, from the event's hash and its tokens in all on."""


class AgentBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored in one transaction: events, and how far their files are read with them."""

    events: tuple[AgentUsage, ...] = ()
    cursors: tuple[LogCursor, ...] = ()


class AgentStored(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a batch.  duplicate: events of which the ledger knew as much, or more."""

    new: int
    duplicate: int


class ReportedUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's report says of a stretch of time and a model, or of one request.

    model: as the report names it; a line that is for no model has its own name; empty: all models together.
    owners: the report's ids of whose it was (project, workspace, key).  request_id: ours, or the provider's own.
    tokens, cost_nusd: ``None`` where it does not say.
    """

    start_us: int
    end_us: int
    model: str = ""
    owners: tuple[str, ...] = ()
    request_id: str = ""
    requests: int | None = None
    tokens: Tokens | None = None
    cost_nusd: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's report of what was used.

    id: of its content; the same report has the same.  windows: the stretches of time that it is about, also those in which
    nothing was used.  complete: no page of it is missing.
    """

    id: str
    uses: tuple[ReportedUse, ...]
    windows: tuple[tuple[int, int], ...]
    complete: bool = True


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is stored: an HMAC, never the key.

    models: glob patterns; empty: every model.  endpoints: what it may call; empty: everything.  user, team: whom it belongs
    to; empty: nobody in particular.  metadata: a JSON object, as text.
    previous_digest: the secret before the last rotation; it is as good as the present one until ``previous_until_us``.
    """

    id: str
    name: str
    digest: bytes
    last4: str
    admin: bool
    models: tuple[str, ...]
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None
    user: str = ""
    team: str = ""
    endpoints: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    priority: str = "normal"
    disconnect: str = "cancel"
    durability: str = ""
    metadata: str = "{}"
    previous_digest: bytes = b""
    previous_until_us: int | None = None


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """Whom users and keys belong to.  Its name is what it is known by for ever: no other team will ever have it.

    models: glob patterns of what its keys may use, besides their own; empty: everything.  metadata: a JSON object, as text.
    """

    name: str
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    metadata: str = "{}"
    created_us: int
    removed_us: int | None = None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Whom keys belong to.  team: whom the user belongs to; empty: no team.  Everything else as for a team."""

    name: str
    team: str = ""
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    metadata: str = "{}"
    created_us: int
    removed_us: int | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a unit may be used in a period.

    scope: ``key:ID``, ``user:NAME``, ``team:NAME`` or ``global``.  limit: nano-USD, or a count.
    warn_percent: from how much of it on callers are warned; ``None``: never.
    """

    id: str
    scope: str
    unit: BudgetUnit
    period: BudgetPeriod
    limit: int
    warn_percent: int | None = 80


Kind = Literal["key", "team", "user", "budget"]
"""What the directory holds."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log: who changed what.

    id: rises; 0 before it is written.  actor_id, actor: the id and name of the key that was used.  object: the id of what
    was changed, name: what it was called then.  before, after: JSON objects without secrets; ``None``: there was nothing.
    """

    id: int = 0
    at_us: int
    actor_id: str
    actor: str
    action: str
    kind: Kind
    object: str
    name: str
    before: str | None
    after: str | None


class Owned(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is stored of keys, teams, users and budgets; revoked and removed ones too, the oldest first."""

    keys: tuple[Key, ...] = ()
    teams: tuple[Team, ...] = ()
    users: tuple[User, ...] = ()
    budgets: tuple[Budget, ...] = ()


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What one key's requests of one day (UTC, since the epoch) came to, as far as they were sent to a provider; of
    each user and team that it belonged to on that day apart.

    cost_nusd: the sum of the known costs, adjustments included.  tokens: in and out.
    """

    day: int
    key_id: str
    user: str
    team: str
    cost_nusd: int
    tokens: int
    requests: int


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Why a routed request went where it went, beside its record; nothing of what was asked.

    chosen: ``provider/model``; empty: nobody could answer.  propensity_ppm: how likely the policy was to choose it, in
    millionths.  why: the policy's ``rule``, the ``session`` so far, ``explored`` by chance, ``abstained`` since too little was
    known, ``nobody``.  quality_ppm, cost_nusd, output_tokens, ttft_us, latency_us: what was expected of the chosen one;
    ``None``: nobody knew.
    features: a JSON object, without what is as usual.  candidates: a JSON array of arrays in the order of ``CANDIDATE``.
    """

    request_id: str
    at_us: int
    policy: str
    task: str
    chosen: str
    snapshot_id: str
    propensity_ppm: int = 1_000_000
    why: str = "rule"
    quality_ppm: int | None = None
    cost_nusd: int | None = None
    output_tokens: int | None = None
    ttft_us: int | None = None
    latency_us: int | None = None
    features: str = "{}"
    candidates: str = "[]"


CANDIDATE = ("name", "quality_ppm", "cost_nusd", "output_tokens", "ttft_us", "latency_us")
"""What is kept of each candidate of a decision, in this order."""


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody thinks of an answer.  One row for each source (of a comparison: and for each of the two).

    key_id: whose key gave it.  offer, task, policy: of the request.  score_ppm: from 0, useless, to 1,000,000, perfect.
    metric: which live metric it counts for.  weight_ppm: how much it counts, one whole observation being 1,000,000.
    other_id: the request that it was compared with; empty: none.
    """

    at_us: int
    request_id: str
    source: str
    key_id: str
    offer: str
    task: str
    policy: str
    metric: str
    score_ppm: int
    weight_ppm: int = 1_000_000
    label: str = ""
    comment: str = ""
    other_id: str = ""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What of an answer could be checked without a reader: the names of what it passed and of what it failed."""

    request_id: str
    at_us: int
    offer: str
    task: str
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, and what came of it.

    offer: who was asked last, ``provider/model``; empty: nobody.  Costs, tokens and times are metered; ``None``: unknown, or
    there was none.  output_tokens: of a request that one try answered.  feedback: score and weight, both in millionths.
    """

    decision: DecisionRecord
    key_id: str
    offer: str
    stream: bool
    outcome: str
    cache: str
    tries: int
    quality: str
    input_tokens: int
    output_tokens: int
    cost_nusd: int | None
    ttfb_us: int | None
    duration_us: int
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    feedback: tuple[tuple[int, int], ...] = ()
