"""``docs/providers.md`` and the README say of the vendors what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from providers.openai.vendors import VENDORS
from providers.provider import Endpoint, Vendor

ROOT = Path(__file__).parents[2]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
# The local model has no address: nobody configures it.
NAMED = [vendor for vendor in VENDORS.values() if vendor.base_url]


def page() -> str:
    return (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")


def prose() -> str:
    """The page on one line: where its lines break says nothing."""
    return " ".join(page().split())


def rows() -> list[str]:
    return re.findall(r"^\| `[\w-]+` \| `http.*$", page(), re.MULTILINE)


def row(vendor: Vendor) -> str:
    keys = ", ".join(f"`{name}`" for name in vendor.key_names)
    endpoints = ", ".join(it.removesuffix("/completions") for it in ENDPOINTS if it in vendor.endpoints)
    priced_as = "free" if vendor.free else f"`{vendor.prices}`" if vendor.prices else ""
    return f"| `{vendor.name}` | `{vendor.base_url}` | {keys} | {endpoints} | {priced_as} |"


def test_the_table_has_every_vendor_as_its_row_in_the_code_has_it() -> None:
    expected = [row(vendor) for vendor in NAMED]

    written = rows()

    assert written == expected


def test_the_page_names_the_vendors_that_report_the_usage_of_a_stream_unasked() -> None:
    unasked = {vendor.name for vendor in NAMED if not vendor.asks_usage}

    sentence = re.search(r"([^.]*) report it unasked", prose())

    assert sentence is not None
    assert set(re.findall(r"`([\w-]+)`", sentence[1])) == unasked


def test_the_page_names_the_vendors_whose_usage_chunk_is_passed_on() -> None:
    passed_on = {vendor.name for vendor in NAMED if vendor.asks_usage and not vendor.strips_usage}

    sentence = re.search(r"From ([^.]*) the chunk is passed on", prose())

    assert sentence is not None
    assert set(re.findall(r"`([\w-]+)`", sentence[1])) == passed_on


def test_the_page_names_the_vendors_that_need_no_key() -> None:
    keyless = {vendor.name for vendor in NAMED if not vendor.needs_key}

    sentence = re.search(r"([^.]*) need no key", prose())

    assert sentence is not None
    assert set(re.findall(r"`([\w-]+)`", sentence[1])) == keyless


def test_the_readme_counts_the_vendors_right() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    counted = re.search(r"for\s+(\d+)\s+vendors", readme)

    assert counted is not None
    assert int(counted[1]) == len(NAMED)
