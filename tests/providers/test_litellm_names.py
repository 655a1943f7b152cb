"""litellm's providers are known without importing it."""

from __future__ import annotations

import sys

from providers.litellm_names import known


def test_its_providers_are_known_and_it_is_not_imported() -> None:
    names = known()

    assert {"watsonx", "snowflake", "databricks", "sarvam"} <= names
    assert "watson" not in names
    assert "litellm" not in sys.modules
