"""Lists of Anthropic's files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.datastructures import QueryParams

from proxy.api.message_files import page
from proxy.errors import InvalidRequest, NotFound

ROWS = [(f"file_{number}", json.dumps({"id": f"file_{number}", "n": 1.0})) for number in range(4)]


def paged(query: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(page(ROWS, QueryParams(query)))
    return read


def test_the_newest_come_first_and_each_page_leads_to_the_next() -> None:
    first = paged("limit=3")
    second = paged(f"limit=3&page={first['next_page']}")

    assert [it["id"] for it in first["data"]] == ["file_3", "file_2", "file_1"]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, "file_3", "file_1")
    assert [it["id"] for it in second["data"]] == ["file_0"]
    assert (second["has_more"], second["next_page"]) == (False, None)


@pytest.mark.parametrize("query", ["ids=file_1&ids=file_9&ids=file_3", "ids%5B%5D=file_1&ids%5B%5D=file_3&limit=1"])
def test_some_may_be_asked_for_by_their_ids(query: str) -> None:
    told = paged(query)

    assert [it["id"] for it in told["data"]] == ["file_3", "file_1"]
    assert (told["has_more"], told["next_page"]) == (False, None)


def test_the_older_way_to_page_leads_both_ways() -> None:
    assert [it["id"] for it in paged("after_id=file_2&limit=1")["data"]] == ["file_1"]
    assert [it["id"] for it in paged("before_id=file_0&limit=1")["data"]] == ["file_1"]
    assert paged("before_id=file_0&limit=1")["next_page"] is None


@pytest.mark.parametrize("query", ["scope_id=s", "&".join(["ids=f"] * 101), "limit=0"])
def test_what_cannot_be_told_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest):
        paged(query)


def test_a_page_that_is_none_is_said_to_be_none() -> None:
    with pytest.raises(NotFound):
        paged("page=page_nobody")


def test_nobody_has_nothing() -> None:
    assert json.loads(page([], QueryParams(""))) == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
        "next_page": None,
    }
