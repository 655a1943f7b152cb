"""Which accounts are opened by something else than a key."""

from __future__ import annotations

import pytest

from providers.bearer import Bearer
from providers.openai.vendors import VENDORS
from providers.provider import Identity
from providers.signers import Signers
from providers.transport import Transport

SIGNED = ("azure", "bedrock", "vertex", "vertex-anthropic")


def signers() -> Signers:
    return Signers({}, Transport(), lambda: 0.0)


def test_an_account_of_bedrock_is_opened_by_a_signature_and_all_of_a_region_by_the_same() -> None:
    made = signers()
    vendor = VENDORS["bedrock"]

    one = made(vendor, Identity(region="us-east-1"))

    assert one is not None
    assert made(vendor, Identity(region="us-east-1")) is one
    assert made(vendor, Identity(region="eu-west-1")) is not one
    assert made(vendor, Identity(region="us-east-1", profile="other")) is not one


@pytest.mark.parametrize("name", ["azure", "vertex", "vertex-anthropic"])
def test_an_account_of_azure_or_of_vertex_is_opened_by_a_token(name: str) -> None:
    assert isinstance(signers()(VENDORS[name], Identity()), Bearer)


def test_everybody_else_is_opened_by_a_key() -> None:
    made = signers()

    assert {made(vendor, Identity()) for vendor in VENDORS.values() if vendor.name not in SIGNED} == {None}
