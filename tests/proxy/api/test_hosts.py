"""Which names this server answers to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.api.hosts import Hosts

LOOPBACK = [
    b"localhost",
    b"LocalHost",
    b"localhost:4000",
    b"127.0.0.1",
    b"127.0.0.1:4000",
    b"[::1]",
    b"[::1]:4000",
    b"localhost.",
]
FOREIGN = [
    b"evil.example",
    b"evil.example:4000",
    b"127.0.0.1.evil.example",
    b"localhost.evil.example",
    b"10.0.0.5",
    b"[::2]",
    b"0.0.0.0",
]
MALFORMED = [
    b"",
    b":4000",
    b"a:b",
    b"a:",
    b"a:123456",
    b"a b",
    b" a",
    b"a ",
    b"a/b",
    b"a@b",
    b"user@127.0.0.1",
    b"127.0.0.1#",
    b"[::1",
    b"::1",
    b"[::1]x",
    b"[]",
    b"a,b",
    b"localhost,evil",
    b"caf\xc3\xa9",
    b"a\x00",
    b"a\n",
    b"\r\na",
    b"a" * 254,
    b"[" + b"0" * 46 + b"]",
    b"%61",
]


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_on_loopback_only_its_names_are_answered(bound: str) -> None:
    hosts = Hosts(bound)

    assert [host for host in LOOPBACK if not hosts.accept(host)] == []
    assert [host for host in FOREIGN + MALFORMED if hosts.accept(host)] == []


@pytest.mark.parametrize("bound", ["127.0.0.2", "127.1.2.3"])
def test_every_loopback_address_is_one(bound: str) -> None:
    hosts = Hosts(bound)

    assert hosts.accept(bound.encode())
    assert [host for host in FOREIGN + MALFORMED if hosts.accept(host)] == []


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "10.0.0.5"])  # noqa: S104  # nothing is bound
def test_elsewhere_any_well_formed_name_is_answered(bound: str) -> None:
    hosts = Hosts(bound)

    assert [host for host in LOOPBACK + FOREIGN if not hosts.accept(host)] == []
    assert [host for host in MALFORMED if hosts.accept(host)] == []


CONTAINERS = [b"host.docker.internal:4000", b"gateway.docker.internal", b"host.containers.internal:4000"]


def test_on_loopback_what_containers_call_their_host_is_answered() -> None:
    hosts = Hosts("127.0.0.1")

    assert [host for host in CONTAINERS if not hosts.accept(host)] == []
    assert not hosts.accept(b"other.docker.internal")
    assert not Hosts("10.0.0.5", ("gateway.example",)).accept(CONTAINERS[0])


def test_with_names_only_these_are_answered() -> None:
    hosts = Hosts("10.0.0.5", ("Gateway.example",))

    assert [
        host
        for host in (b"gateway.example", b"GATEWAY.example:443", b"gateway.example.", b"10.0.0.5:4000")
        if not hosts.accept(host)
    ] == []
    assert [host for host in (b"evil.example", b"gateway.example.evil", b"xgateway.example") if hosts.accept(host)] == []


def test_names_are_added_to_those_of_loopback() -> None:
    hosts = Hosts("127.0.0.1", ("gateway.example",))

    assert hosts.accept(b"localhost:4000")
    assert hosts.accept(b"gateway.example")
    assert not hosts.accept(b"evil.example")


def test_the_same_header_gets_the_same_verdict_however_many_came_between() -> None:
    hosts = Hosts("127.0.0.1")
    before = [hosts.accept(host) for host in LOOPBACK + FOREIGN]

    for number in range(2000):
        hosts.accept(b"host-%d" % number)

    assert [hosts.accept(host) for host in LOOPBACK + FOREIGN] == before
    assert len(hosts._memo) <= 256


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80))
def test_no_bytes_confuse_it(host: bytes) -> None:
    accepted = Hosts("127.0.0.1").accept(host)

    names = (b"localhost", b"127.0.0.1", b"[:", b"[::1]", *(it.partition(b":")[0] for it in CONTAINERS))
    assert not accepted or host.lower().rsplit(b":", 1)[0].rstrip(b".") in names
