"""The vendors, one row each.  What differs between those of one protocol is a value here, not code."""

from __future__ import annotations

from providers.provider import Endpoint, Protocol, Vendor

CHAT: frozenset[Endpoint] = frozenset({"chat/completions"})
TEXT: frozenset[Endpoint] = frozenset({"chat/completions", "completions", "embeddings"})
ALL: frozenset[Endpoint] = frozenset({"chat/completions", "completions", "embeddings", "responses"})
VECTORS: frozenset[Endpoint] = frozenset({"embeddings"})
RESPONSES: frozenset[Endpoint] = frozenset({"responses"})
MADE: frozenset[Endpoint] = frozenset({"images/generations"})
VARIED: frozenset[Endpoint] = frozenset({"images/variations"})
DRAWN: frozenset[Endpoint] = MADE | VARIED | frozenset({"images/edits"})
HEARD: frozenset[Endpoint] = frozenset({"audio/transcriptions", "audio/translations"})
SPOKEN: frozenset[Endpoint] = frozenset({"audio/speech"})
RANKED: frozenset[Endpoint] = frozenset({"rerank"})
JUDGED: frozenset[Endpoint] = frozenset({"moderations"})
SESSIONS: frozenset[Endpoint] = frozenset({"realtime"})
OWN: frozenset[Endpoint] = ALL | JUDGED | DRAWN | HEARD | SPOKEN | SESSIONS
COMPACTED: frozenset[Endpoint] = frozenset({"responses/compact"})
COUNTED: frozenset[Endpoint] = frozenset({"responses/input_tokens"})
MESSAGES: frozenset[Endpoint] = frozenset({"messages", "messages/count_tokens"})
CONTENTS: frozenset[Endpoint] = frozenset({"generateContent", "countTokens", "embedContent", "batchEmbedContents"})


_ROWS = (
    # Source: platform.openai.com/docs/api-reference, read 2026-11.
    Vendor(name="openai", base_url="https://api.openai.com/v1", key_names=("OPENAI_API_KEY",), prices="openai",
           endpoints=OWN | COUNTED | COMPACTED, newer_bound=True, files=True),
    # Source: platform.claude.com/docs/en/api/messages, read 2026-11.
    Vendor(name="anthropic", protocol="anthropic", base_url="https://api.anthropic.com/v1", key_names=("ANTHROPIC_API_KEY",),
           endpoints=MESSAGES, prices="anthropic", files=True),
    # Its layer for OpenAI's clients reports what embeddings used; the native endpoint does not.
    # Source: ai.google.dev/api and ai.google.dev/gemini-api/docs/openai, read 2026-11.
    Vendor(name="gemini", protocol="gemini", base_url="https://generativelanguage.googleapis.com/v1beta",
           key_names=("GEMINI_API_KEY", "GOOGLE_API_KEY"), endpoints=CONTENTS | VECTORS | MADE,
           paths=(("embeddings", "openai/embeddings"), ("images/generations", "openai/images/generations")), prices="gemini"),
    # Models are called by the names of their deployments, which nothing lists.  Moderation is a service of its own there.
    # Conversations are compacted there, tokens are not counted.
    # Source: learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle, openai/openai-dotnet issue 1165 and
    # QuantumNous/new-api pull request 4149, read 2026-11.
    Vendor(name="azure", protocol="azure", base_url="https://{resource}.openai.azure.com/openai/v1", models_path="",
           key_names=("AZURE_OPENAI_API_KEY",), key_header="api-key", prices="azure", newer_bound=True, needs_key=False,
           endpoints=(OWN - JUDGED - VARIED) | COMPACTED, files=True),
    # Its list of models is another service's, at another address.
    # Source: docs.aws.amazon.com/general/latest/gr/bedrock.html, …/bedrock/latest/userguide/api-keys-use.html, read 2026-11.
    Vendor(name="bedrock", protocol="bedrock", base_url="https://bedrock-runtime.{region}.amazonaws.com", models_path="",
           key_names=("AWS_BEARER_TOKEN_BEDROCK",), endpoints=frozenset({"converse", "count-tokens", "invoke"}),
           prices="bedrock", needs_key=False),
    # Source: docs.cohere.com/reference/chat, …/rerank and …/list-models, read 2026-11.
    Vendor(name="cohere", protocol="cohere", base_url="https://api.cohere.com", models_path="v1/models?page_size=1000",
           key_names=("COHERE_API_KEY", "CO_API_KEY"), endpoints=frozenset({"v2/chat", "v2/embed", "rerank"}),
           paths=(("rerank", "v2/rerank"),), prices="cohere"),
    # Source: cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference, read 2026-11, and recorded requests.
    Vendor(name="vertex", protocol="vertex", models_path="",
           endpoints=frozenset({"generateContent", "countTokens", "embedContent"}),
           base_url="https://{region}-aiplatform.googleapis.com/v1beta1/projects/{project}/locations/{region}/publishers/google",
           prices="vertex_ai", needs_key=False),
    # Source: platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai, read 2026-11.
    Vendor(name="vertex-anthropic", protocol="vertex-anthropic", models_path="", endpoints=MESSAGES,
           base_url="https://{region}-aiplatform.googleapis.com/v1/projects/{project}/locations/{region}/publishers/anthropic",
           prices="vertex_ai", needs_key=False),
    # Usage rides in the last chunk (x_groq) unasked.
    # Source: recorded streams, and console.groq.com/docs/api-reference, read 2026-11.
    Vendor(name="groq", base_url="https://api.groq.com/openai/v1", key_names=("GROQ_API_KEY",),
           endpoints=CHAT | RESPONSES | SPOKEN | HEARD, prices="groq", asks_usage=False,
           # Source: console.groq.com/docs/batch, read 2026-11.
           files=True),
    # stream_options is not in Mistral's schema; the last chunk has the usage.  Source: recorded streams.
    Vendor(name="mistral", base_url="https://api.mistral.ai/v1", key_names=("MISTRAL_API_KEY",),
           endpoints=frozenset({"chat/completions", "embeddings", "moderations", "audio/speech", "audio/transcriptions"}),
           prices="mistral", asks_usage=False,
           # Source: docs.mistral.ai, "Prefix", read 2026-11.
           marks_prefix=True),
    # Completions are served below /beta only.  Source: api-docs.deepseek.com, FIM completion, read 2026-11.
    Vendor(name="deepseek", base_url="https://api.deepseek.com", key_names=("DEEPSEEK_API_KEY",),
           endpoints=frozenset({"chat/completions", "responses"}), prices="deepseek"),
    # Source: openrouter.ai/docs/features/prompt-caching and …/docs/client-sdks (Rerank, Speech), read 2026-11.
    Vendor(name="openrouter", base_url="https://openrouter.ai/api/v1", key_names=("OPENROUTER_API_KEY",),
           endpoints=ALL | SPOKEN | RANKED, prices="openrouter", cache_hints=True),
    # Source: docs.together.ai/docs/inference/openai-compatibility and …/reference (Images, Audio, Rerank), read 2026-11.
    Vendor(name="together", base_url="https://api.together.xyz/v1", key_names=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
           endpoints=TEXT | MADE | SPOKEN | RANKED | HEARD, prices="together_ai"),
    # Its transcriptions are at another address.  Source: docs.fireworks.ai/api-reference, read 2026-11.
    Vendor(name="fireworks", base_url="https://api.fireworks.ai/inference/v1",
           key_names=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
           endpoints=ALL | RANKED, prices="fireworks_ai"),
    # Source: docs.deepinfra.com, OpenAI-compatible API, read 2026-11.
    Vendor(name="deepinfra", base_url="https://api.deepinfra.com/v1/openai", key_names=("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
           endpoints=TEXT | DRAWN | SPOKEN | HEARD, prices="deepinfra"),
    # It edits images by JSON.  Source: docs.x.ai/docs/api-reference, read 2026-11.
    Vendor(name="xai", base_url="https://api.x.ai/v1", key_names=("XAI_API_KEY",),
           endpoints=frozenset({"chat/completions", "responses", "images/generations"}), prices="xai"),
    Vendor(name="cerebras", base_url="https://api.cerebras.ai/v1", key_names=("CEREBRAS_API_KEY",),
           endpoints=frozenset({"chat/completions", "completions"}), prices="cerebras"),
    # Every chunk carries the usage so far.  Source: docs.perplexity.ai, streaming.
    Vendor(name="perplexity", base_url="https://api.perplexity.ai", key_names=("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
           prices="perplexity", asks_usage=False),
    Vendor(name="moonshot", base_url="https://api.moonshot.ai/v1", key_names=("MOONSHOT_API_KEY",), prices="moonshot"),
    Vendor(name="zai", base_url="https://api.z.ai/api/paas/v4", key_names=("ZAI_API_KEY",), prices="zai"),
    # Source: docs.voyageai.com/reference/embeddings-api and …/reranker-api, read 2026-11; it has no list of models.
    Vendor(name="voyage", base_url="https://api.voyageai.com/v1", models_path="", key_names=("VOYAGE_API_KEY",),
           endpoints=frozenset({"embeddings", "rerank"}), prices="voyage"),
    # Source: api.jina.ai/redoc, read 2026-11; it has no list of models.
    Vendor(name="jina", base_url="https://api.jina.ai/v1", models_path="", key_names=("JINA_API_KEY", "JINA_AI_API_KEY"),
           endpoints=frozenset({"embeddings", "rerank"}), prices="jina_ai"),
    Vendor(name="nvidia", base_url="https://integrate.api.nvidia.com/v1", key_names=("NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"),
           endpoints=TEXT, prices="nvidia_nim"),
    # The router's hosts differ: some send the usage chunk unasked, so its clients must expect it.  Source: recorded streams.
    Vendor(name="huggingface", base_url="https://router.huggingface.co/v1", key_names=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
           endpoints=frozenset({"chat/completions", "responses"}), prices="huggingface", strips_usage=False),
    Vendor(name="ollama", base_url="http://127.0.0.1:11434/v1", endpoints=ALL, needs_key=False, free=True),
    Vendor(name="lmstudio", base_url="http://127.0.0.1:1234/v1", endpoints=ALL, needs_key=False, free=True),
    # Source: docs.vllm.ai/en/latest/serving/openai_compatible_server, read 2026-11.
    Vendor(name="vllm", base_url="http://127.0.0.1:8000/v1", endpoints=ALL | HEARD | RANKED, needs_key=False),
    # llama.cpp's server, a child of this process: providers/local.py.
    Vendor(name="local", base_url="", endpoints=frozenset({"chat/completions", "completions", "responses"}), needs_key=False,
           free=True, keeps_alive=False),
)  # fmt: skip

VENDORS: dict[str, Vendor] = {row.name: row for row in _ROWS}

LAYERS: dict[str, Vendor] = {
    row.name: row
    for row in (
        # Source: platform.claude.com/docs/en/api/openai-sdk and ai.google.dev/gemini-api/docs/openai, read 2026-11.
        Vendor(name="anthropic", base_url="https://api.anthropic.com/v1", prices="anthropic"),
        Vendor(
            name="gemini",
            base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            endpoints=frozenset({"chat/completions", "embeddings", "images/generations"}),
            prices="gemini",
        ),
    )
}
"""The layers for OpenAI's clients that vendors of another protocol have: what ``type: openai`` makes of them."""

CUSTOM = Vendor(name="openai-compatible", base_url="", endpoints=OWN | RANKED, needs_key=False)
"""What a provider of ``type: openai`` is when its name is not a vendor's."""

CUSTOMS: dict[Protocol, Vendor] = {
    "openai": CUSTOM,
    "anthropic": Vendor(name="anthropic-compatible", protocol="anthropic", base_url="", endpoints=MESSAGES, needs_key=False),
    "gemini": Vendor(name="gemini-compatible", protocol="gemini", base_url="", endpoints=CONTENTS, needs_key=False),
    # There are no others that speak these.
    "azure": VENDORS["azure"],
    "bedrock": VENDORS["bedrock"],
    "cohere": VENDORS["cohere"],
    "vertex": VENDORS["vertex"],
    "vertex-anthropic": VENDORS["vertex-anthropic"],
    # Where its providers are, litellm knows itself; it lists none of their models.
    "litellm": Vendor(
        name="litellm",
        protocol="litellm",
        base_url="litellm:",
        models_path="",
        needs_key=False,
        endpoints=frozenset({"chat/completions", "embeddings"}),
    ),
}
"""The same for each type."""


def vendor_of(name: str, protocol: Protocol | None, base_url: str) -> Vendor:
    """What a provider is that is called so, has such a type (``None``: none is said) and such an address (empty: none)."""
    own = VENDORS.get(name)
    layer = LAYERS.get(name)
    if protocol is None:
        # The address of a vendor's layer for OpenAI's clients says as much as its type.
        return layer if layer is not None and base_url.rstrip("/").endswith("/openai") else own or CUSTOM
    if own is not None and own.protocol == protocol:
        return own
    return layer if layer is not None and protocol == "openai" else CUSTOMS[protocol]
