"""The control plane's HTTP client for the ledger's sources: small, patient, and not to be led elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib.metadata import version

import httpx

from ledger.errors import SourceUnavailable
from ledger.payload import PAYLOAD_MAX_BYTES
from ledger.refresh.ports import Answer
from providers.retry_after import retry_after_s

TOTAL_S = 60.0
CONNECT_S = 10.0
USER_AGENT = f"tollway/{version('tollway')}"


class HttpxWeb:
    """A ``Web``.  client: made with ``trust_env=False``.  now_us: wall clock, for a ``Retry-After`` that is a date."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        now_us: Callable[[], int],
        *,
        total_s: float = TOTAL_S,
        body_max: int = PAYLOAD_MAX_BYTES,
    ) -> None:
        self._client = client
        self._now_us = now_us
        self._total_s = total_s
        self._body_max = body_max

    async def get(self, url: str, headers: Mapping[str, str], /) -> Answer:
        """Ask, for a minute in all.  Raises: SourceUnavailable; no text has a header in it."""
        asked = {"user-agent": USER_AGENT, "accept": "application/json", **headers}
        timeout = httpx.Timeout(self._total_s, connect=min(CONNECT_S, self._total_s))
        try:
            if not 0 < (httpx.URL(url).port or 443) < 65_536:
                raise SourceUnavailable("its URL has no port that there is")
            async with (
                asyncio.timeout(self._total_s),
                self._client.stream("GET", url, headers=asked, follow_redirects=False, timeout=timeout) as reply,
            ):
                body = await self._body(reply) if reply.status_code == 200 else b""
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SourceUnavailable(f"it did not answer within {self._total_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise SourceUnavailable(f"it cannot be reached: {type(error).__name__}") from error
        said = {name.lower(): value for name, value in reply.headers.items()}
        wait_s = retry_after_s(said, self._now_us() / 1e6)
        return Answer(status=reply.status_code, headers=said, body=body, retry_after_s=wait_s)

    async def _body(self, reply: httpx.Response) -> bytes:
        parts = bytearray()
        async for part in reply.aiter_bytes():
            parts += part
            if len(parts) > self._body_max:
                raise SourceUnavailable(f"it sends more than {self._body_max} bytes")
        return bytes(parts)
