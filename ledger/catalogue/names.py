"""How sources and hosts write the name of a model, read into one spelling.

Rules only, and each is exact: what they cannot read stays as it is written.  What they get wrong is corrected by the
reviewed table of aliases (``identity``), never by likeness.

A model is spelled ``creator/name``: lower case, hyphens between words and digits, the creator without any.
"""

from __future__ import annotations

import re

import msgspec

from ledger.facts import Subject

# Who made it, by every name that sources have for them, squeezed to letters and digits.
_CALLED = {
    "ai21": "ai21labs",
    "allenai": "ai2 alleninstituteforai",
    "amazon": "amazonbedrock aws",
    "anthropic": "claude",
    "arceeai": "arcee",
    "bytedance": "bytedanceseed",
    "cohere": "cohereforai coherelabs",
    "deepseek": "deepseekai",
    "google": "gemini googledeepmind",
    "ibm": "ibmgranite",
    "kwaipilot": "kwaikat",
    "lgai": "lg lgairesearch",
    "liquidai": "liquid",
    "mbzuai": "mbzuaiinstituteoffoundationmodels",
    "meituan": "longcat",
    "meta": "metallama",
    "microsoft": "azure microsoftazure",
    "minimax": "minimaxai",
    "mistral": "mistralai",
    "moonshot": "kimi moonshotai",
    "nousresearch": "nous",
    "qwen": "alibaba alibabacloud",
    "rekaai": "reka",
    "stepfun": "stepfunai",
    "xiaomi": "xiaomimimo",
    "zai": "thudm zaiorg zhipu zhipuai",
}
CREATORS = {word: name for name, words in _CALLED.items() for word in words.split()}

# Who made a model that is named without its creator: the first that fits.
FAMILIES = (
    (re.compile(r"nemotron"), "nvidia"),
    (re.compile(r"^(hermes|deephermes)-"), "nousresearch"),
    (re.compile(r"^(chatgpt-|gpt-|o[1-9](-|$)|codex-|davinci|text-embedding-(3|ada))"), "openai"),
    (re.compile(r"^claude-"), "anthropic"),
    (re.compile(r"^(gemini-|gemma-|gemma\d|palm-)"), "google"),
    (re.compile(r"^(llama-|llama\d|meta-llama-|codellama)"), "meta"),
    (re.compile(r"^(open-)?(mistral|mixtral|ministral|codestral|devstral|magistral|pixtral|voxtral)-"), "mistral"),
    (re.compile(r"^(qwen|qwq-|qvq-)"), "qwen"),
    (re.compile(r"^deepseek-"), "deepseek"),
    (re.compile(r"^grok-"), "xai"),
    (re.compile(r"^kimi-"), "moonshot"),
    (re.compile(r"^glm-"), "zai"),
    (re.compile(r"^(command-|c4ai-|aya-)"), "cohere"),
    (re.compile(r"^nova-"), "amazon"),
    (re.compile(r"^phi-"), "microsoft"),
    (re.compile(r"^minimax-"), "minimax"),
    (re.compile(r"^granite-"), "ibm"),
    (re.compile(r"^mimo-"), "xiaomi"),
    (re.compile(r"^sonar(-|$)"), "perplexity"),
    (re.compile(r"^jamba-"), "ai21"),
)  # fmt: skip

# Hosts, by the prefixes that lists put before their models.
HOSTS = frozenset(
    (
        *("azure", "azure_ai", "bedrock", "bedrock_converse", "cerebras", "cloudflare", "databricks", "deepinfra"),
        *(
            "fireworks",
            "fireworks_ai",
            "gemini",
            "github",
            "github_copilot",
            "groq",
            "hyperbolic",
            "lambda_ai",
            "litellm_proxy",
        ),
        *("nebius", "novita", "nvidia_nim", "ollama", "openrouter", "ovhcloud", "replicate", "sambanova", "together"),
        *("together_ai", "vertex_ai", "vercel_ai_gateway", "watsonx"),
    )
)

EFFORTS = {
    "": "",
    "default": "",
    **dict.fromkeys(("none", "off", "disabled", "non-reasoning", "no-thinking"), "none"),
    **dict.fromkeys(("thinking", "reasoning", "adaptive", "adaptive-reasoning"), "thinking"),
    **{name: name for name in ("minimal", "low", "medium", "high", "xhigh", "max")},
}
"""How much a model thinks, by every word for it."""

_PLANS = frozenset(("free", "nitro", "floor", "online", "extended", "exacto", "batch", "flex", "priority"))
_REGION = r"(?:us-gov|us|eu|apac|ap|jp|au|ca|sa|global)"
_ARN = re.compile(r"^arn:aws[\w-]*:bedrock:([\w-]*):\d*:(?:foundation-model|inference-profile)/(.+)$")
_VERTEX = re.compile(r"^(?:projects/[^/]+/)?(?:locations/([^/]+)/)?publishers/([^/]+)/models/(.+)$")
_BEDROCK = re.compile(
    rf"^(?:({_REGION})\.)?(ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai"
    r"|qwen|writer|zai)\.([a-z][\w.:-]*)$"
)
_BEDROCK_VERSION = re.compile(r"-v\d+(:\d+)?(:[\w]+)?$|-\d+:\d+$")
_CLOUD_REGION = re.compile(r"^(?:[a-z]{2}(?:-[a-z]+)+-\d|us|eu|global)$")
_DATE = re.compile(r"-(20\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?=-|$)")
_PARENTHESES = re.compile(r"\(([^()]*)\)")
_LATEST = re.compile(r"-latest$")


class Name(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A name, read.

    ``creator``: empty if nobody said and the family does not tell.  ``raw``: the name as spelled, before anything was taken
    off; ``dated``: with its date, ``name``: without.  ``floating``: it means another model tomorrow, such as
    ``gemini-flash-latest``.   ``effort``, ``host``, ``region``, ``plan``: empty if nothing says so.
    """

    creator: str
    raw: str
    dated: str
    name: str
    effort: str = ""
    host: str = ""
    region: str = ""
    plan: str = ""
    floating: bool = False


def creator_of(text: str, /) -> str:
    """The one name of a creator, whatever a source calls them: ``Z AI``, ``z-ai``, ``zai-org`` are ``zai``."""
    squeezed = re.sub(r"[^a-z0-9]", "", text.lower())
    return CREATORS.get(squeezed, squeezed)


def spell(text: str, /) -> str:
    """Lower case, one hyphen for everything that is no letter and no digit."""
    text = text.lower().replace("+", "-plus")
    text = re.sub(r"(?<=\d)p(?=\d)", "-", text)  # v3p1, as one host writes v3.1
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


def read(subject: Subject, /) -> Name:
    """Read who a source means.  Total: whatever the text is, there is a reading of it."""
    place = _place(subject)
    text, plan, effort = _suffixes(place.text)
    raw = spell(text)
    creator = place.creator or creator_of(subject.creator) or family(raw)
    name, found = _effort(raw, creator, subject.label)
    effort = EFFORTS.get(spell(subject.effort), spell(subject.effort)) or effort or found
    floating = place.floating
    if _LATEST.search(name):
        name = _LATEST.sub("", name)
        floating = floating or not re.search(r"\d", name)
    return Name(
        creator=creator,
        raw=raw,
        dated=_familiar(creator, name),
        name=_familiar(creator, _DATE.sub("", name)),
        effort=effort,
        host=spell(subject.host) or place.host,
        region=subject.region.lower() or place.region,
        plan=spell(subject.plan) or plan,
        floating=floating,
    )


def family(name: str, /) -> str:
    """Who made a model of that name; empty if the name does not tell."""
    return next((creator for pattern, creator in FAMILIES if pattern.search(name)), "")


class _Place(msgspec.Struct, frozen=True):
    """What stands before the name."""

    text: str
    creator: str = ""
    host: str = ""
    region: str = ""
    floating: bool = False


def _place(subject: Subject) -> _Place:
    text = subject.source_name.strip()
    if found := _ARN.match(text):
        inner = _place(Subject(source_name=found[2], host="bedrock"))
        return _Place(inner.text, inner.creator, "bedrock", found[1] or inner.region)
    if found := _VERTEX.match(text):
        return _Place(found[3], creator_of(found[2]), "vertex", found[1] or "")
    host = region = ""
    floating = text.startswith("~")
    parts = [part for part in text.removeprefix("~").removeprefix("@").split("/") if part]
    if len(parts) > 1 and parts[0] == "cf":
        parts[0] = "cloudflare"
    if len(parts) > 1 and parts[0] != "accounts" and (parts[0].lower() in HOSTS or len(parts) > 2):
        host, parts = spell(parts[0]), parts[1:]
        if len(parts) > 1 and _CLOUD_REGION.match(parts[0]):
            region, parts = parts[0], parts[1:]
    if len(parts) > 2 and parts[0] == "accounts":  # accounts/fireworks/models/…
        host, parts = host or spell(parts[1]), parts[-1:]
    if parts[:1] == ["models"]:  # models/gemini-…
        parts = parts[-1:]
    last = parts[-1] if parts else text
    creator = creator_of(parts[-2]) if len(parts) > 1 else ""
    if (found := _BEDROCK.match(last.lower())) and (not creator or host.startswith("bedrock")):
        name = _BEDROCK_VERSION.sub("", found[3])
        return _Place(name, creator_of(found[2]), "bedrock", region or found[1] or "", floating)
    return _Place(last, creator, host, region, floating)


def _suffixes(text: str) -> tuple[str, str, str]:
    """The text without what follows a colon or an ``@``, the plan, the effort."""
    text = re.sub(r"@(default|latest)$", "", text)
    text, colon, tail = text.rpartition(":")
    if not colon:
        return tail.removesuffix("-maas"), "", ""
    word = tail.lower()
    if word in _PLANS:
        return text, word, ""
    if word in EFFORTS:
        return text, "", EFFORTS[word]
    if word == "beta":
        return text, "", ""
    return f"{text}-{tail}", "", ""


def _effort(name: str, creator: str, label: str) -> tuple[str, str]:
    """The name without what says how much it thinks, and what that is.

    A word at the end of a name is part of it (``kimi-k2-thinking``, ``qwen3-max``, ``devstral-medium``) unless the display
    name has the same in parentheses (``Claude 4.5 Sonnet (Reasoning)``), or the creator is known to write efforts so.
    """
    said = _labelled(label)
    if said:
        words = {"none": "non-reasoning", "none-low": "non-reasoning-low-effort"}.get(said, said)
        allowed = (words, "high-effort", "max-effort", "non-reasoning") if said.startswith("none") else (
            words, "reasoning", "thinking", "adaptive"
        )  # fmt: skip
        for _ in range(2):
            for word in allowed:
                name = name.removesuffix(f"-{word}")
        return name, said
    own = {
        "openai": r"-(minimal|low|medium|high|xhigh)$",
        "anthropic": r"-(thinking|reasoning|adaptive|non-reasoning)(?:-\d+k)?$",
        "xai": r"-(non-reasoning|reasoning)$",
    }.get(creator)
    if own and (found := re.search(own, name)):
        return name[: found.start()], EFFORTS[found[1]]
    if name.endswith("-non-reasoning"):
        return name.removesuffix("-non-reasoning"), "none"
    return name, ""


def _labelled(label: str) -> str:
    """The effort in the parentheses of a display name: ``GPT-5.5 (xhigh)``, ``… (Adaptive Reasoning, Max Effort)``."""
    for inside in reversed(_PARENTHESES.findall(label)):
        words = [spell(word).removesuffix("-effort") for word in inside.split(",")]
        if not all(word in EFFORTS for word in words):
            continue
        efforts = [EFFORTS[word] for word in words]
        if efforts[0] == "none":  # not thinking is an effort; what is said beside it tells two such rows apart
            return "none-low" if efforts[1:] == ["low"] else "none"
        return next((effort for effort in reversed(efforts) if effort != "thinking"), "thinking")
    return ""


def _familiar(creator: str, name: str) -> str:
    """The name as its family is spelled here, whichever order and filling words a source uses."""
    match creator:
        case "anthropic":
            return _claude(name)
        case "qwen":
            name = re.sub(r"^qwen-(?=\d)", "qwen", name)
            # From the third generation on, the bare name is the instructed model, and a base model says so.
            return _without(name, "instruct") if re.match(r"^qwen[3-9]", name) else name
        case "google":
            if name.startswith("gemma"):
                return _without(_without(re.sub(r"^gemma(?=\d)", "gemma-", name), "it"), "instruct")
            return re.sub(r"^(gemini-[2-9].*)-001$", r"\1", name)
        case "meta":
            name = re.sub(r"^llama-?v?(?=\d)", "llama-", name.removeprefix("meta-"))
            return f"{_without(name, 'instruct')}-instruct" if "-instruct" in name else name
        case "moonshot":
            return _without(name, "instruct")
        case "amazon":
            return re.sub(r"-v\d+$", "", name.removeprefix("amazon-"))
        case "nvidia" | "ibm" | "cohere":
            return name.removeprefix(f"{creator}-")
        case "deepseek":
            name = name if name.startswith("deepseek") else f"deepseek-{name}"
            return re.sub(r"^deepseek-chat-(?=v\d)", "deepseek-", name)
        case _:
            return name


def _claude(name: str) -> str:
    """``claude-4-5-sonnet-fast`` and ``claude-sonnet-4-5-fast`` are one; the tier stands first since the fourth generation."""
    found = re.match(r"^claude-(\d+)(?:-(\d+))?-([a-z]+)(.*)$", name)
    if not found:
        return name
    version = "-".join(part for part in (found[1], found[2]) if part)
    return f"claude-{found[3]}-{version}{found[4]}"


def _without(name: str, word: str) -> str:
    return "-".join(part for part in name.split("-") if part != word)
