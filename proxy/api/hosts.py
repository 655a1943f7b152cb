"""Which Host headers this server answers to: a page from elsewhere must not reach it under a name of its own."""

from __future__ import annotations

import re
from ipaddress import ip_address

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
# What containers call the machine that they run on.  Nobody else can have these names: .internal is reserved for private use.
# Source: docs.docker.com/desktop/features/networking, podman-run(1), and ICANN's board, resolution of 2024-07-29.
_CONTAINERS = frozenset({"host.docker.internal", "gateway.docker.internal", "host.containers.internal"})
# Source: RFC 9110 4.2.3 and RFC 3986 3.2.2: a name, an IPv4 address, or an IPv6 address in brackets, and a port.
_GRAMMAR = re.compile(rb"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_MEMO_MAX = 256


class Hosts:
    """Accepts a Host header by its grammar and, on a loopback bind or with ``names``, by its name.

    bound: the address that the server listens on.  names: further names, without a port.
    """

    def __init__(self, bound: str, names: tuple[str, ...] = ()) -> None:
        plain = f"[{bound}]" if ":" in bound and not bound.startswith("[") else bound
        on_loopback = _is_loopback(bound)
        self._any = not names and not on_loopback
        self._names = {name.lower() for name in names} | {plain.lower()} | (_LOOPBACK | _CONTAINERS if on_loopback else set())
        self._memo: dict[bytes, bool] = {}

    def accept(self, host: bytes) -> bool:
        """Whether this is a Host header to answer to."""
        verdict = self._memo.get(host)
        if verdict is None:
            match = _GRAMMAR.fullmatch(host)
            if match is None:
                return False
            verdict = self._any or match[1].decode().lower().rstrip(".") in self._names
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            self._memo[host] = verdict
        return verdict


def _is_loopback(bound: str) -> bool:
    try:
        return ip_address(bound.strip("[]")).is_loopback
    except ValueError:
        return bound.lower() == "localhost"
