"""What may be told: everything that is set, and nothing that opens the gateway."""

from __future__ import annotations

import json

from proxy.owners.told import told, told_text
from tests.ledger.samples import budget, key, team, user

SECRETS = {"digest": b"digest-canary", "previous_digest": b"previous-canary"}


def test_of_a_key_everything_is_told_but_its_digests() -> None:
    it = key(**SECRETS, metadata='{"a":{"b":[1]}}')

    assert set(it.__struct_fields__) - told(it).keys() == set(SECRETS)
    assert told(it)["metadata"] == {"a": {"b": [1]}}
    assert "canary" not in str(told_text(it))


def test_of_the_others_everything_is_told() -> None:
    for it in (user(), team(), budget()):
        assert set(it.__struct_fields__) == told(it).keys() == json.loads(told_text(it) or "").keys()


def test_of_nothing_nothing_is_told() -> None:
    assert told_text(None) is None
