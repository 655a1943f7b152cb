"""What tests of every layer share: the fake upstream, and a running Tollway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import Setting, TollwayProcess, tollway

Serve = Callable[[Setting], TollwayProcess]

# How long an example takes says more of the machine than of the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    """A fake upstream; whatever reached it must have kept to the protocol."""
    with OpenAIUpstream() as upstream:
        yield upstream
        assert upstream.problems == []


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[OpenAIUpstream]:
    """The same for all tests of a file, which then use different models."""
    with OpenAIUpstream() as upstream:
        yield upstream
        assert upstream.problems == []


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a Tollway; it is stopped and its logs are checked when the test is over."""
    with ExitStack() as stack:
        yield lambda setting: stack.enter_context(tollway(tmp_path / "home", setting))
