"""Which pages may call from a browser, and what a browser has to be told for it (CORS).

No cookie opens anything here, only a key that the page itself has to know; so nobody is ever told to send credentials, and
what a page of this machine may do is no more than any program on it.  Source: fetch.spec.whatwg.org, "CORS protocol", read
2026-11.
"""

from __future__ import annotations

import re

from proxy.errors import Headers

ANY = "*"
PREFLIGHT_S = 600
"""How long a browser may remember what it was told.  Browsers have bounds of their own, from 600 s."""
_LOOPBACK = re.compile(rb"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
_HEADERS = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2048}")
"""Names of headers as they stand in a list.  Source: RFC 9110, section 5.6.2."""


class Origins:
    """Pages of this machine, and of ``names``: origins such as ``https://chat.example.com``, or ``*`` for any."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self._any = ANY in names
        self._names = frozenset(name.lower().rstrip("/").encode() for name in names)

    def accept(self, origin: bytes) -> bool:
        """Whether pages of this origin may read answers."""
        return self._any or origin.lower() in self._names or _LOOPBACK.fullmatch(origin) is not None

    def headers(self, origin: bytes) -> Headers:
        """What goes with an answer to such a page."""
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"*"),
            (b"vary", b"origin"),
        ]

    def preflight(self, origin: bytes, asked: bytes) -> Headers:
        """What a browser is told before the request.  asked: the headers that the page wants to send."""
        allowed = asked if _HEADERS.fullmatch(asked) else b"authorization, content-type"
        return [
            *self.headers(origin),
            (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, HEAD"),
            (b"access-control-allow-headers", allowed),
            (b"access-control-max-age", b"%d" % PREFLIGHT_S),
            # Source: wicg.github.io/private-network-access: asked by a page that was not loaded from a private network.
            (b"access-control-allow-private-network", b"true"),
            (b"content-length", b"0"),
        ]
