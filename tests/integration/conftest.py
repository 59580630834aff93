"""A fake upstream for gateways that run as processes."""

from collections.abc import Iterator

import pytest

from tests.support.upstream import FakeUpstream


@pytest.fixture(scope="module")
def fake_server() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def fake(fake_server: FakeUpstream) -> FakeUpstream:
    """Which has forgotten what the test before planned."""
    fake_server.forget()
    return fake_server
