"""Pages of Anthropic's lists."""

from __future__ import annotations

import pytest

from proxy.api.cursors import window
from proxy.errors import InvalidRequest, NotFound

NAMES = [f"n{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("query", "shown", "more"),
    [
        ({}, NAMES, False),
        ({"limit": "2"}, NAMES[:2], True),
        ({"limit": "2", "after_id": "n1"}, NAMES[2:4], True),
        ({"limit": "2", "after_id": "n2"}, NAMES[3:], False),
        ({"after_id": "n4"}, [], False),
        ({"limit": "2", "before_id": "n4"}, NAMES[2:4], True),
        ({"limit": "2", "before_id": "n2"}, NAMES[:2], False),
        ({"before_id": "n0"}, [], False),
        ({"limit": "1000", "after_id": ""}, NAMES, False),
    ],
)
def test_a_page_comes_after_one_thing_or_before_it(query: dict[str, str], shown: list[str], more: bool) -> None:
    assert window(NAMES, query) == (shown, more)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "1e2", "٣", "9" * 5000])
def test_a_page_has_so_many_and_no_more(limit: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        window(NAMES, {"limit": limit})

    assert refused.value.param == "limit"


@pytest.mark.parametrize("place", ["after_id", "before_id"])
def test_a_place_that_is_none_is_said_to_be_none(place: str) -> None:
    with pytest.raises(NotFound) as refused:
        window(NAMES, {place: "nobody"})

    assert refused.value.param == place


def test_a_page_has_one_place() -> None:
    with pytest.raises(InvalidRequest):
        window(NAMES, {"after_id": "n1", "before_id": "n3"})
