"""Which accounts are opened by something else than a key."""

from __future__ import annotations

from providers.bearer import Bearer
from providers.openai.vendors import VENDORS
from providers.signers import Signers
from providers.transport import Transport


def signers() -> Signers:
    return Signers({}, Transport(), lambda: 0.0)


def test_an_account_of_bedrock_is_opened_by_a_signature_and_all_of_a_region_by_the_same() -> None:
    made = signers()
    vendor = VENDORS["bedrock"]

    one = made(vendor, "us-east-1", "")

    assert one is not None
    assert made(vendor, "us-east-1", "") is one
    assert made(vendor, "eu-west-1", "") is not one
    assert made(vendor, "us-east-1", "other") is not one


def test_an_account_of_azure_is_opened_by_a_token() -> None:
    assert isinstance(signers()(VENDORS["azure"], "", ""), Bearer)


def test_everybody_else_is_opened_by_a_key() -> None:
    made = signers()

    assert {made(vendor, "", "") for vendor in VENDORS.values() if vendor.name not in ("azure", "bedrock")} == {None}
