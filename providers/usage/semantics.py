"""What each vendor's usage object means, a row for each vendor and API.

A field is a path: ``prompt_tokens_details.cached_tokens``; ``cacheDetails[ttl=1h].inputTokens`` is a field of the list's
element that has that text.  Of several paths the first that is there counts.

Which event of a stream has the usage is the same almost everywhere: the last one that has any has the whole (``final``).
Where every event carries the usage so far (``cumulative``), or parts come in several (``merged``: a later field replaces
the earlier one), the last credible one still is the whole.  Nowhere are events added up.

Sources: the vendors' API references, read 2026-11; usage objects recorded by the test suite of pydantic-ai (MIT), and the
extractors of genai-prices 0.2.3 (MIT), by which those are priced.  A row's own source says more.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec.structs import replace

Paths = tuple[str, ...]
Place = Literal["inside", "beside", "told", "rest"]
"""``inside`` the larger count, ``beside`` it, or as the object itself tells: beside if its total, or its size, says so.
``rest``: as it tells, and where it names none, what the total has beyond input and output.
"""
StreamUsage = Literal["final", "cumulative", "merged"]


class Semantics(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor's API.

    input, output: the counts that the others are inside of or beside.  input_beside: more input, never inside of
    ``input``.  cache_write: all of it; cache_write_1h: the part that is kept for an hour.  cache_read_audio,
    cache_read_image: the parts of the cached tokens that are counted in ``input_audio`` and ``input_image`` too.
    total: what the object says that all of it is.  cost_usd: the key of the vendor's own charge.  service_tier: the key
    that says how it was served.
    queries: search units of a reranking; audio_s: the key of the seconds of sound that were listened to.
    omits_zeros: a count that is not there is 0, as protobuf writes JSON, if there are others.
    made: what comes out, as far as the object does not tell it apart; empty: text.
    rounds: the key of a list of objects like the whole one, each with a ``type``; apart: the types that the counts of the
    whole one leave out, though they are charged.
    """

    vendor: str
    api: str
    source: str
    input: Paths
    output: Paths = ()
    input_beside: Paths = ()
    cache: Place = "inside"
    cache_read: Paths = ()
    cache_write: Paths = ()
    cache_write_1h: Paths = ()
    cache_read_audio: Paths = ()
    cache_read_image: Paths = ()
    input_audio: Paths = ()
    input_image: Paths = ()
    reasoning: Paths = ()
    reasoning_place: Place = "inside"
    output_audio: Paths = ()
    output_image: Paths = ()
    web_searches: Paths = ()
    queries: Paths = ()
    total: Paths = ()
    cost_usd: str = ""
    service_tier: str = ""
    audio_s: str = ""
    omits_zeros: bool = False
    made: Literal["", "image", "audio"] = ""
    stream: StreamUsage = "final"
    rounds: str = ""
    apart: frozenset[str] = frozenset()
    # The paths of all counts as one tree, which the reader follows; made from the fields above.
    tree: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the tree."""
        msgspec.structs.force_setattr(self, "tree", _tree(self))


COUNTS = ("input", "output", "input_beside", "cache_read", "cache_write", "cache_write_1h", "cache_read_audio",
          "cache_read_image", "input_audio", "input_image", "reasoning", "output_audio", "output_image", "web_searches",
          "queries", "total")  # fmt: skip
"""The fields whose paths lead to counts, in the order in which the reader has them."""


def _tree(row: Semantics) -> dict[str, Any]:
    """For each key what its value is: ``(place in COUNTS, rank)``, a tree of its own, or ``(field, {text: tree})``.

    rank: of several paths of one field the lower counts.
    """
    tree: dict[str, Any] = {}
    for place, name in enumerate(COUNTS):
        for rank, path in enumerate(getattr(row, name)):
            *above, last = path.split(".")
            branch = tree
            for part in above:
                key, _, condition = part.removesuffix("]").partition("[")
                if not condition:
                    branch = branch.setdefault(key, {})
                    continue
                field, _, text = condition.partition("=")
                _, elements = branch.setdefault(key, (field, {}))
                branch = elements.setdefault(text, {})
            branch[last] = (place, rank)
    return tree


OPENAI_LIKE = Semantics(
    vendor="openai-compatible",
    api="",
    source="The union of what servers that speak OpenAI's protocol report; for vendors without a row.",
    input=("prompt_tokens", "input_tokens"),
    output=("completion_tokens", "output_tokens"),
    cache_read=("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "prompt_cache_hit_tokens",
                "cached_tokens", "num_cached_tokens"),
    cache_write=("prompt_tokens_details.cache_write_tokens", "prompt_tokens_details.cache_creation_tokens",
                 "input_tokens_details.cache_write_tokens", "input_tokens_details.cache_creation_tokens"),
    input_audio=("prompt_tokens_details.audio_tokens", "input_tokens_details.audio_tokens"),
    input_image=("prompt_tokens_details.image_tokens", "input_tokens_details.image_tokens"),
    reasoning=("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens", "reasoning_tokens"),
    reasoning_place="told",
    output_audio=("completion_tokens_details.audio_tokens", "output_tokens_details.audio_tokens"),
    output_image=("completion_tokens_details.image_tokens", "output_tokens_details.image_tokens"),
    total=("total_tokens",),
    service_tier="service_tier",
)  # fmt: skip

_CHAT = Semantics(
    vendor="openai",
    api="chat/completions",
    source="platform.openai.com/docs/api-reference/chat/object",
    input=("prompt_tokens",),
    output=("completion_tokens",),
    cache_read=("prompt_tokens_details.cached_tokens",),
    cache_write=("prompt_tokens_details.cache_write_tokens",),
    input_audio=("prompt_tokens_details.audio_tokens",),
    input_image=("prompt_tokens_details.image_tokens",),
    reasoning=("completion_tokens_details.reasoning_tokens",),
    output_audio=("completion_tokens_details.audio_tokens",),
    output_image=("completion_tokens_details.image_tokens",),
    total=("total_tokens",),
)
_RESPONSES = Semantics(
    vendor="openai",
    api="responses",
    source="platform.openai.com/docs/api-reference/responses/object",
    input=("input_tokens",),
    output=("output_tokens",),
    cache_read=("input_tokens_details.cached_tokens",),
    cache_write=("input_tokens_details.cache_write_tokens",),
    input_audio=("input_tokens_details.audio_tokens",),
    input_image=("input_tokens_details.image_tokens",),
    reasoning=("output_tokens_details.reasoning_tokens",),
    output_audio=("output_tokens_details.audio_tokens",),
    output_image=("output_tokens_details.image_tokens",),
    total=("total_tokens",),
)
_REALTIME = Semantics(
    vendor="openai",
    api="realtime",
    source="platform.openai.com/docs/api-reference/realtime-server-events/response/done; a transcription's has the same keys",
    input=("input_tokens",),
    output=("output_tokens",),
    cache_read=("input_token_details.cached_tokens",),
    cache_read_audio=("input_token_details.cached_tokens_details.audio_tokens",),
    cache_read_image=("input_token_details.cached_tokens_details.image_tokens",),
    input_audio=("input_token_details.audio_tokens",),
    input_image=("input_token_details.image_tokens",),
    reasoning=("output_token_details.reasoning_tokens",),
    output_audio=("output_token_details.audio_tokens",),
    total=("total_tokens",),
    audio_s="seconds",
)
_EMBEDDINGS = Semantics(
    vendor="openai",
    api="embeddings",
    source="platform.openai.com/docs/api-reference/embeddings/create",
    input=("prompt_tokens",),
    total=("total_tokens",),
)
# Cached tokens are beside input_tokens; message_start has the input, message_delta the final output, and all of it since
# 2025.  Thinking is inside of output_tokens.  What a summary of the conversation took (compaction), and the advice of another
# model, stand among the iterations alone; a model that declined, so that another one answered, is not charged.
_MESSAGES = Semantics(
    vendor="anthropic",
    api="messages",
    source="platform.claude.com/docs/en/api/messages, …/build-with-claude/prompt-caching and …/build-with-claude/compaction, "
    "understanding usage; recorded answers",
    input=("input_tokens",),
    output=("output_tokens",),
    cache="beside",
    cache_read=("cache_read_input_tokens",),
    cache_write=("cache_creation_input_tokens",),
    cache_write_1h=("cache_creation.ephemeral_1h_input_tokens",),
    reasoning=("output_tokens_details.thinking_tokens",),
    service_tier="service_tier",
    stream="merged",
    rounds="iterations",
    apart=frozenset(("compaction", "advisor_message")),
)
# Thoughts and what tools put into the prompt are beside the two counts; the cache is inside of the prompt.
_GENERATE_CONTENT = Semantics(
    vendor="gemini",
    api="generateContent",
    source="ai.google.dev/api/generate-content#UsageMetadata",
    input=("promptTokenCount",),
    output=("candidatesTokenCount",),
    input_beside=("toolUsePromptTokenCount",),
    cache_read=("cachedContentTokenCount",),
    cache_read_audio=("cacheTokensDetails[modality=AUDIO].tokenCount",),
    cache_read_image=("cacheTokensDetails[modality=IMAGE].tokenCount",),
    input_audio=("promptTokensDetails[modality=AUDIO].tokenCount",),
    input_image=("promptTokensDetails[modality=IMAGE].tokenCount",),
    reasoning=("thoughtsTokenCount",),
    reasoning_place="beside",
    output_audio=("candidatesTokensDetails[modality=AUDIO].tokenCount",),
    output_image=("candidatesTokensDetails[modality=IMAGE].tokenCount",),
    total=("totalTokenCount",),
    service_tier="serviceTier",
    omits_zeros=True,
    stream="cumulative",
)
_CONVERSE = Semantics(
    vendor="bedrock",
    api="converse",
    source="docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html",
    input=("inputTokens",),
    output=("outputTokens",),
    cache="beside",
    cache_read=("cacheReadInputTokens",),
    cache_write=("cacheWriteInputTokens",),
    cache_write_1h=("cacheDetails[ttl=1h].inputTokens",),
    total=("totalTokens",),
)
# Billed units, not tokens, are what is invoiced; the cache is not discounted.
_COHERE = Semantics(
    vendor="cohere",
    api="chat",
    source="docs.cohere.com/reference/chat",
    input=("billed_units.input_tokens", "tokens.input_tokens"),
    output=("billed_units.output_tokens", "tokens.output_tokens"),
)

# Older models report no details of what came out, which was pictures then.
_IMAGES = Semantics(
    vendor="openai",
    api="images/generations",
    source="platform.openai.com/docs/api-reference/images/object, and …/images-streaming",
    input=("input_tokens",),
    output=("output_tokens",),
    input_image=("input_tokens_details.image_tokens",),
    output_image=("output_tokens_details.image_tokens",),
    total=("total_tokens",),
    made="image",
)
_SPEECH = Semantics(
    vendor="openai",
    api="audio/speech",
    source="platform.openai.com/docs/api-reference/audio/speech-audio-done-event",
    input=("input_tokens",),
    output=("output_tokens",),
    total=("total_tokens",),
    made="audio",
)
# Either tokens, or the seconds that are charged.
_TRANSCRIPT = Semantics(
    vendor="openai",
    api="audio/transcriptions",
    source="platform.openai.com/docs/api-reference/audio/json-object, usage",
    input=("input_tokens",),
    output=("output_tokens",),
    input_audio=("input_token_details.audio_tokens", "input_tokens_details.audio_tokens"),
    total=("total_tokens",),
    audio_s="seconds",
)
_RERANK = Semantics(
    vendor="",
    api="rerank",
    source="docs.voyageai.com/reference/reranker-api, api.jina.ai/redoc, docs.together.ai/reference/rerank, vLLM's server: all "
    "of what they count went in",
    input=("total_tokens", "prompt_tokens"),
)

_ROWS = (
    _CHAT,
    replace(_CHAT, api="completions", source="platform.openai.com/docs/api-reference/completions/object"),
    _RESPONSES,
    replace(_RESPONSES, api="responses/compact", source="platform.openai.com/docs/api-reference/responses/compact"),
    _REALTIME,
    _EMBEDDINGS,
    replace(_MESSAGES, web_searches=("server_tool_use.web_search_requests",)),
    replace(_CHAT, vendor="anthropic", cache_read=("prompt_tokens_details.cached_tokens", "cached_tokens"), cache_write=(),
            source="platform.claude.com/docs/en/api/openai-sdk"),
    _GENERATE_CONTENT,
    replace(_GENERATE_CONTENT, vendor="vertex", source="cloud.google.com/vertex-ai/generative-ai, UsageMetadata"),
    replace(_MESSAGES, vendor="vertex-anthropic", source="cloud.google.com/vertex-ai, Claude models"),
    replace(_MESSAGES, vendor="gemini", source="cloud.google.com/vertex-ai, Claude models"),
    # Thoughts are charged as output; this API counts them in the total alone.
    replace(
        _CHAT,
        vendor="gemini",
        reasoning_place="rest",
        source="ai.google.dev/gemini-api/docs/openai, …/pricing (output price, including thinking tokens), recorded answers",
    ),
    replace(_EMBEDDINGS, vendor="gemini", source="ai.google.dev/gemini-api/docs/openai"),
    replace(_CHAT, vendor="azure", source="learn.microsoft.com/azure/ai-foundry/openai/reference"),
    replace(_RESPONSES, vendor="azure", source="learn.microsoft.com/azure/ai-foundry/openai/reference"),
    replace(_REALTIME, vendor="azure", source="learn.microsoft.com/azure/ai-foundry/openai/realtime-audio-reference"),
    replace(_EMBEDDINGS, vendor="azure", source="learn.microsoft.com/azure/ai-foundry/openai/reference"),
    replace(_MESSAGES, vendor="azure", source="learn.microsoft.com/azure/ai-foundry, Claude models"),
    _CONVERSE,
    replace(_MESSAGES, vendor="bedrock", source="docs.aws.amazon.com/bedrock/latest/userguide, Anthropic Claude messages"),
    replace(_EMBEDDINGS, vendor="bedrock", api="invoke", total=(),
            input=("inputTextTokenCount", "x-amzn-bedrock-input-token-count"),
            source="docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html"),
    _COHERE,
    replace(_COHERE, api="embeddings", input=("billed_units.input_tokens",), output=(),
            source="docs.cohere.com/reference/embed"),
    # Its num_cached_tokens is what its servers had at hand; only prompt_tokens_details.cached_tokens are discounted.
    replace(_CHAT, vendor="mistral", source="docs.mistral.ai/capabilities/prompt_caching, and recorded answers"),
    replace(_EMBEDDINGS, vendor="mistral", source="docs.mistral.ai/api"),
    replace(_CHAT, vendor="groq", source="console.groq.com/docs/prompt-caching; a stream's is in x_groq, too"),
    replace(_RESPONSES, vendor="groq", source="console.groq.com/docs/responses-api"),
    # Hits are inside of prompt_tokens.
    replace(_CHAT, vendor="deepseek", cache_read=("prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens"),
            source="api-docs.deepseek.com/api/create-chat-completion"),
    # Reasoning is beside the completion in chat, inside of the output in responses.
    replace(_CHAT, vendor="xai", reasoning_place="beside", source="docs.x.ai/docs/api-reference, and recorded answers"),
    replace(_RESPONSES, vendor="xai", source="docs.x.ai/docs/api-reference"),
    # ``cost`` is what the account was charged; prompt caching of the model behind it is in the details.
    replace(_CHAT, vendor="openrouter", cost_usd="cost", web_searches=("server_tool_use.web_search_requests",),
            source="openrouter.ai/docs/use-cases/usage-accounting"),
    replace(_CHAT, vendor="openrouter", api="completions", cost_usd="cost",
            source="openrouter.ai/docs/use-cases/usage-accounting"),
    replace(_RESPONSES, vendor="openrouter", cost_usd="cost", source="openrouter.ai/docs/use-cases/usage-accounting"),
    replace(_EMBEDDINGS, vendor="openrouter", cost_usd="cost", source="openrouter.ai/docs/use-cases/usage-accounting"),
    replace(_CHAT, vendor="moonshot", cache_read=("prompt_tokens_details.cached_tokens", "cached_tokens"),
            source="platform.moonshot.ai/docs/api/chat"),
    # Deep research counts reasoning beside the completion, the others inside; the total tells.  Every chunk has the usage.
    replace(_CHAT, vendor="perplexity", reasoning=("reasoning_tokens",), reasoning_place="told",
            web_searches=("num_search_queries",), stream="cumulative", source="docs.perplexity.ai/api-reference"),
    replace(_CHAT, vendor="cerebras", source="inference-docs.cerebras.ai/api-reference/chat-completions"),
    replace(_CHAT, vendor="fireworks", source="docs.fireworks.ai/api-reference/post-chatcompletions"),
    replace(_CHAT, vendor="together", cache_read=("prompt_tokens_details.cached_tokens", "cached_tokens"),
            source="docs.together.ai/reference/chat-completions-1"),
    replace(_CHAT, vendor="huggingface", source="huggingface.co/docs/inference-providers; it passes on what its hosts report"),
    replace(_CHAT, vendor="zai", source="docs.z.ai/api-reference/llm/chat-completion"),
    replace(_EMBEDDINGS, vendor="voyage", input=("total_tokens",), total=(),
            source="docs.voyageai.com/reference/embeddings-api, and a recorded answer"),
    replace(_CHAT, vendor="nvidia", source="docs.api.nvidia.com/nim/reference"),
    replace(_CHAT, vendor="deepinfra", cost_usd="estimated_cost", source="docs.deepinfra.com, OpenAI-compatible API"),
    replace(_EMBEDDINGS, vendor="jina", input=("total_tokens",), total=(), source="api.jina.ai/redoc"),
    _IMAGES,
    replace(_IMAGES, api="images/edits"),
    _SPEECH,
    _TRANSCRIPT,
    replace(_TRANSCRIPT, api="audio/translations"),
    replace(_TRANSCRIPT, vendor="mistral", input=("prompt_tokens",), output=("completion_tokens",), input_audio=(),
            audio_s="prompt_audio_seconds", source="docs.mistral.ai/api, audio transcriptions"),
    replace(_CHAT, vendor="mistral", api="audio/speech", source="docs.mistral.ai/api, audio speech"),
    replace(_EMBEDDINGS, vendor="mistral", api="moderations", source="docs.mistral.ai/api, moderations"),
    # Newer models count tokens instead of search units.
    replace(_RERANK, vendor="cohere", input=("billed_units.input_tokens",), queries=("billed_units.search_units",),
            source="docs.cohere.com/reference/rerank"),
    replace(_RERANK, vendor="openrouter", cost_usd="cost", queries=("search_units",),
            source="openrouter.ai/docs/client-sdks, Rerank"),
    replace(_CHAT, vendor="litellm", source="providers/litellm_bridge.py, which says in OpenAI's words what litellm tells"),
    replace(_EMBEDDINGS, vendor="litellm", source="providers/litellm_bridge.py"),
)  # fmt: skip

ROWS: dict[tuple[str, str], Semantics] = {(row.vendor, row.api): row for row in _ROWS}


USUAL: dict[str, Semantics] = {
    "realtime": ROWS["openai", "realtime"],
    "responses/compact": ROWS["openai", "responses/compact"],
    "messages": ROWS["anthropic", "messages"],
    "generateContent": ROWS["gemini", "generateContent"],
    "embedContent": ROWS["gemini", "generateContent"],
    "batchEmbedContents": ROWS["gemini", "generateContent"],
    "v2/chat": ROWS["cohere", "chat"],
    "v2/embed": ROWS["cohere", "embeddings"],
    "images/generations": ROWS["openai", "images/generations"],
    "images/edits": ROWS["openai", "images/generations"],
    "images/variations": ROWS["openai", "images/generations"],
    "audio/speech": ROWS["openai", "audio/speech"],
    "audio/transcriptions": ROWS["openai", "audio/transcriptions"],
    "audio/translations": ROWS["openai", "audio/transcriptions"],
    # Some servers of one's own speak Cohere's form of it, the others the usual one.
    "rerank": replace(
        _RERANK, input=("total_tokens", "prompt_tokens", "billed_units.input_tokens"), queries=("billed_units.search_units",)
    ),
}
"""What an API's usage object means at whoever speaks it and has no row."""


def semantics_of(vendor: str, api: str) -> Semantics:
    """The row of a vendor's API; else what the API's own means, else what servers of OpenAI's protocol have in common."""
    return ROWS.get((vendor, api)) or USUAL.get(api, OPENAI_LIKE)
