"""What the edge reads of a body of Anthropic's."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.anthropic import head, page, weigh
from proxy.call import PLAIN, Weight
from proxy.deployments.models import Model
from proxy.errors import InvalidRequest

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD" * 10}}


def body(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(blocks)}], **more}


def test_the_head_has_what_the_pipeline_needs() -> None:
    read = head(body(stream=True, max_tokens=7, metadata={"user_id": "u"}, cache={"no-store": True}))

    assert (read.model, read.stream, read.output_max, read.choices) == ("m", True, 7, 1)
    assert (read.cache_key, read.ours) == ("u", ("cache",))
    assert read.cache is not None and read.cache.no_store


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"model": ""}, "model"), ({"stream": 1}, "stream"), ({"max_tokens": "9"}, "max_tokens"), ({"api_base": "x"}, "api_base")],
)
def test_a_field_of_the_wrong_type_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        head({**body(), **changes})

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (body({"type": "text", "text": "a"}), PLAIN),
        (body({"type": "thinking", "thinking": "a"}, {"type": "tool_use", "input": {}}), PLAIN),
        (body({"type": "document", "source": {"type": "text", "data": "abc"}}), PLAIN),
        (body(IMAGE), Weight(references=1, payload_bytes=40)),
        (
            body({"type": "tool_result", "content": [IMAGE, {"type": "text", "text": "a"}]}),
            Weight(references=1, payload_bytes=40),
        ),
        (body({"type": "document", "source": {"type": "content", "content": [IMAGE]}}), Weight(references=1, payload_bytes=40)),
        (body({"type": "document", "source": {"type": "url", "url": "u"}}), Weight(references=1)),
        (body({"type": "document", "source": {"type": "file", "file_id": "f"}}), Weight(references=1, files=("f",))),
        (body(*[{"type": "container_upload", "file_id": it} for it in "gfg"]), Weight(references=3, files=("g", "f"))),
        (body({"type": "container_upload", "file_id": 5}), Weight(references=1)),
        (body(system=[IMAGE]), Weight(references=1, payload_bytes=40)),
        (body(tools=[{"name": "f"}, {"type": "custom", "name": "g"}]), PLAIN),
        (body(tools=[{"type": "web_search_20250305", "name": "web_search"}]), Weight(references=1)),
        (body(mcp_servers=[{}], container="c"), Weight(references=2)),
        (body(service_tier="auto"), Weight(service_tier="auto")),
        ({"messages": "x", "tools": 7, "system": 7}, PLAIN),
        (body(7, None), PLAIN),
    ],
)
def test_what_is_not_text_has_a_weight(said: dict[str, Any], expected: Weight) -> None:
    assert weigh(said) == expected


MODELS = [Model(id=name, owned_by="x") for name in "abcde"]


@pytest.mark.parametrize(
    ("query", "expected", "more"),
    [
        ({}, "abcde", False),
        ({"limit": "2"}, "ab", True),
        ({"limit": "2", "after_id": "b"}, "cd", True),
        ({"limit": "2", "after_id": "d"}, "e", False),
        ({"limit": "2", "before_id": "e"}, "cd", True),
        ({"before_id": "b"}, "a", False),
        ({"after_id": "nobody"}, "abcde", False),
    ],
)
def test_a_page_begins_behind_or_ends_before_a_model(query: dict[str, str], expected: str, more: bool) -> None:
    read = page(MODELS, 0, query)

    assert ("".join(it.id for it in read.data), read.has_more) == (expected, more)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "²"])
def test_a_page_of_no_size_is_refused(limit: str) -> None:
    with pytest.raises(InvalidRequest):
        page(MODELS, 0, {"limit": limit})
