"""Which accounts are opened by something else than a key."""

from __future__ import annotations

from providers.openai.vendors import VENDORS
from providers.signers import Signers


def test_an_account_of_bedrock_is_opened_by_a_signature_and_all_of_a_region_by_the_same() -> None:
    signers = Signers(lambda: 0.0)
    vendor = VENDORS["bedrock"]

    one = signers(vendor, "us-east-1", "")

    assert one is not None
    assert signers(vendor, "us-east-1", "") is one
    assert signers(vendor, "eu-west-1", "") is not one
    assert signers(vendor, "us-east-1", "other") is not one


def test_everybody_else_is_opened_by_a_key() -> None:
    signers = Signers(lambda: 0.0)

    assert {signers(vendor, "", "") for vendor in VENDORS.values() if vendor.name != "bedrock"} == {None}
