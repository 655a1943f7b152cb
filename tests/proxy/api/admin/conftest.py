"""A room for every test."""

from __future__ import annotations

import pytest

from tests.proxy.api.admin.rooms import Room


@pytest.fixture
async def room() -> Room:
    return await Room().opened()
