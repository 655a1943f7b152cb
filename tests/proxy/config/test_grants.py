"""What may be given, and that everything else is named."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.grants import ENDPOINTS, METADATA_MAX_BYTES, PATTERNS_MAX, faults, metadata_text


def test_what_can_be_given_has_no_faults() -> None:
    given: dict[str, Any] = {
        "models": ["openai/*", "gpt-?"],
        "endpoints": ENDPOINTS,
        "disconnect": "drain:999999999",
        "metadata": metadata_text({"ä": [1, {"b": None}]}),
    }

    assert list(faults()) == list(faults(**given)) == []


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"models": ["a", ""]}, ("models", 1)),
        ({"models": ["a b"]}, ("models", 0)),
        ({"models": ["x" * 257]}, ("models", 0)),
        ({"models": ["a", "a"]}, ("models", 1)),
        ({"models": [str(number) for number in range(PATTERNS_MAX + 1)]}, ("models", None)),
        ({"endpoints": ["/v1/embeddings"]}, ("endpoints", 0)),
        ({"endpoints": ["embeddings", "embeddings"]}, ("endpoints", 1)),
        ({"disconnect": ""}, ("disconnect", None)),
        ({"disconnect": "drain:"}, ("disconnect", None)),
        ({"disconnect": "drain:-1"}, ("disconnect", None)),
        ({"disconnect": "drain:1\n"}, ("disconnect", None)),
        ({"disconnect": "drain:٣"}, ("disconnect", None)),
        ({"metadata": metadata_text({"x": "ä" * (METADATA_MAX_BYTES // 2)})}, ("metadata", None)),
    ],
)
def test_what_cannot_is_named_by_its_place(given: dict[str, Any], place: tuple[str, int | None]) -> None:
    (fault,) = faults(**given)

    assert (fault.field, fault.index) == place


def test_a_number_that_is_none_cannot_be_noted() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        metadata_text({"x": float("nan")})
