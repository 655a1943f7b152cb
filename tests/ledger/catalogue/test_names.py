"""How hosts and sources write names, and what is read from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.catalogue.names import Name, creator_of, read, spell
from ledger.facts import Subject


def said(text: str, **more: str) -> tuple[str, str, str, str]:
    """Model, effort, host/region, plan."""
    name = read(Subject(source_name=text, **more))
    return f"{name.creator}/{name.name}", name.effort, f"{name.host}/{name.region}".rstrip("/"), name.plan


@pytest.mark.parametrize(
    "text",
    [
        "claude-sonnet-4-5-20250929",
        "claude-4-5-sonnet-20250929",
        "claude-sonnet-4.5",
        "anthropic/claude-sonnet-4.5",
        "anthropic/claude-4.5-sonnet-20250929",
        "claude-sonnet-4-5@20250929",
        "claude-sonnet-4-5@default",
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock/us-east-1/anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "vertex_ai/claude-sonnet-4-5@20250929",
        "projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929",
        "openrouter/anthropic/claude-sonnet-4.5:beta",
        "Claude-Sonnet-4-5-latest",
    ],
)
def test_one_model_is_found_under_every_hosts_name_for_it(text: str) -> None:
    assert said(text)[0] == "anthropic/claude-sonnet-4-5"


@pytest.mark.parametrize(
    ("text", "model", "host"),
    [
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", "anthropic/claude-opus-4-5", "bedrock/us"),
        ("bedrock/us-east-1/meta.llama3-1-70b-instruct-v1:0", "meta/llama-3-1-70b-instruct", "bedrock/us-east-1"),
        ("arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-pro-v1:0", "amazon/nova-pro", "bedrock/us-west-2"),
        ("openai.gpt-oss-120b-1:0", "openai/gpt-oss-120b", "bedrock"),
        ("us.deepseek.r1-v1:0", "deepseek/deepseek-r1", "bedrock/us"),
        ("mistral.mistral-large-2407-v1:0", "mistral/mistral-large-2407", "bedrock"),
        ("publishers/google/models/gemini-2.5-pro", "google/gemini-2-5-pro", "vertex"),
        ("projects/p/locations/europe-west1/publishers/meta/models/llama-3.3-70b-instruct-maas", "meta/llama-3-3-70b-instruct", "vertex/europe-west1"),  # noqa: E501
        ("models/gemini-2.5-flash", "google/gemini-2-5-flash", ""),
        ("gemini/gemini-2.0-flash-001", "google/gemini-2-0-flash", "gemini"),
        ("azure/eu/gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini", "azure/eu"),
        ("azure/gpt-5", "openai/gpt-5", "azure"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "meta/llama-3-1-8b-instruct", "fireworks"),
        ("fireworks_ai/accounts/fireworks/models/deepseek-v3p1", "deepseek/deepseek-v3-1", "fireworks-ai"),
        ("together_ai/meta-llama/Meta-Llama-3.1-8B-Instruct", "meta/llama-3-1-8b-instruct", "together-ai"),
        ("groq/moonshotai/kimi-k2-instruct-0905", "moonshot/kimi-k2-0905", "groq"),
        ("@cf/meta/llama-3.1-8b-instruct", "meta/llama-3-1-8b-instruct", "cloudflare"),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek/deepseek-v3-1", ""),
        ("zai-org/GLM-4.6", "zai/glm-4-6", ""),
        ("google/gemma-3-27b-it", "google/gemma-3-27b", ""),
        ("cohere/command-r+", "cohere/command-r-plus", ""),
    ],
)  # fmt: skip
def test_a_hosts_own_way_of_writing_is_read(text: str, model: str, host: str) -> None:
    found = said(text)

    assert (found[0], found[2]) == (model, host)


@pytest.mark.parametrize(
    ("text", "label", "model", "effort"),
    [
        ("gpt-5-5", "GPT-5.5 (xhigh)", "openai/gpt-5-5", "xhigh"),
        ("gpt-5-5-low", "GPT-5.5 (low)", "openai/gpt-5-5", "low"),
        ("gpt-5-5-non-reasoning", "GPT-5.5 (Non-reasoning)", "openai/gpt-5-5", "none"),
        ("o4-mini-high", "", "openai/o4-mini", "high"),
        ("claude-4-5-sonnet-thinking", "Claude 4.5 Sonnet (Reasoning)", "anthropic/claude-sonnet-4-5", "thinking"),
        ("claude-opus-4-6-adaptive", "Claude Opus 4.6 (Adaptive Reasoning, Max Effort)", "anthropic/claude-opus-4-6", "max"),
        ("claude-sonnet-4-6-non-reasoning-low-effort", "Claude Sonnet 4.6 (Non-reasoning, Low Effort)", "anthropic/claude-sonnet-4-6", "none-low"),  # noqa: E501
        ("claude-opus-4-6", "Claude Opus 4.6 (Non-reasoning, High Effort)", "anthropic/claude-opus-4-6", "none"),
        ("claude-opus-4-5-20251101-thinking-32k", "", "anthropic/claude-opus-4-5", "thinking"),
        ("anthropic/claude-3.7-sonnet:thinking", "", "anthropic/claude-sonnet-3-7", "thinking"),
        ("grok-4-fast-non-reasoning", "", "xai/grok-4-fast", "none"),
        ("kimi-k2-thinking", "Kimi K2 Thinking", "moonshot/kimi-k2-thinking", ""),
        ("devstral-medium", "Devstral Medium", "mistral/devstral-medium", ""),
        ("qwen3-max", "Qwen3 Max", "qwen/qwen3-max", ""),
        ("gpt-5.1-codex-max", "", "openai/gpt-5-1-codex-max", ""),
        ("gpt-4o", "GPT-4o (Nov '24)", "openai/gpt-4o", ""),
        ("phi-4-reasoning", "", "microsoft/phi-4-reasoning", ""),
    ],
)  # fmt: skip
def test_an_effort_is_told_from_a_word_of_the_name(text: str, label: str, model: str, effort: str) -> None:
    assert said(text, label=label)[:2] == (model, effort)


def test_what_a_source_keeps_apart_counts_more_than_the_name() -> None:
    assert said("gpt-5", effort="Minimal", host="Azure", region="EU", plan="Batch") == (
        "openai/gpt-5",
        "minimal",
        "azure/eu",
        "batch",
    )


def test_plans_and_instances_of_openrouter_are_read() -> None:
    assert said("qwen/qwen3-8b:free") == ("qwen/qwen3-8b", "", "", "free")
    assert said("qwen/qwen3-8b:nitro")[3] == "nitro"


@pytest.mark.parametrize("text", ["gemini-flash-latest", "mistral-large-latest", "openai/gpt-chat-latest", "~x-ai/grok-latest"])
def test_a_name_that_moves_is_marked(text: str) -> None:
    assert read(Subject(source_name=text)).floating


@pytest.mark.parametrize("text", ["gpt-5-chat-latest", "claude-3-7-sonnet-latest", "gpt-5"])
def test_a_name_with_a_version_does_not_move(text: str) -> None:
    assert not read(Subject(source_name=text)).floating


@pytest.mark.parametrize("text", ["Z AI", "z-ai", "zai-org", "ZAI", "zhipuai"])
def test_a_creator_has_one_name(text: str) -> None:
    assert creator_of(text) == "zai"


def test_a_base_model_and_its_instructed_one_stay_apart_where_the_bare_name_is_the_base() -> None:
    assert said("meta-llama/llama-3.1-405b")[0] != said("meta-llama/llama-3.1-405b-instruct")[0]
    assert said("qwen/qwen-2.5-72b")[0] != said("qwen/qwen-2.5-72b-instruct")[0]


def test_dates_are_kept_beside_the_name() -> None:
    name = read(Subject(source_name="openai/gpt-4o-2024-08-06"))

    assert (name.dated, name.name) == ("gpt-4o-2024-08-06", "gpt-4o")


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=40))
def test_any_text_can_be_read(text: str, creator: str, label: str) -> None:
    name = read(Subject(source_name=text, creator=creator, label=label))

    assert isinstance(name, Name)
    assert name == read(Subject(source_name=text, creator=creator, label=label))


@given(st.text(max_size=60))
def test_spelling_is_done_once(text: str) -> None:
    assert spell(spell(text)) == spell(text)
