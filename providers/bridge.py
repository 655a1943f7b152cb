"""litellm for the providers that are not spoken natively: a child process that speaks OpenAI's protocol on loopback.

It is started with the first request that needs it (``litellm_bridge.py``): importing litellm takes 6 s of CPU and 215 MB,
and in a thread of the gateway's holds up its loop for up to 0.2 s at a time.  The child knows the accounts that are reached
through it, and nothing else of what the gateway knows: no other keys, no environment, no files of its own.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from providers import child
from providers.aside import Aside
from providers.errors import ConnectFailed
from providers.provider import HttpRequest, Litellm

_PROGRAM: Final = Path(__file__).with_name("litellm_bridge.py")
LOAD_S: Final = 120.0
"""How long litellm may take to load; on a quiet machine it is 3 to 7 s."""
AGAIN_S: Final = 30.0
"""How long nobody waits for another start after one that failed."""
STOPPING: Final = "The gateway is stopping."
_ENVIRONMENT: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_OFFLINE_MODE": "true",
    # Otherwise it reads a file called .env.
    "LITELLM_MODE": "PRODUCTION",
}
"""Nothing is fetched when litellm is imported, or later by itself."""


class Bridge:
    """The child process, and who is reached through it.

    program: for tests of what goes wrong.
    """

    def __init__(
        self, *, clock_s: Callable[[], float] = time.monotonic, program: Path = _PROGRAM, load_s: float = LOAD_S
    ) -> None:
        self._clock_s = clock_s
        self._program = program
        self._load_s = load_s
        self._accounts: list[Litellm] = []
        self._served = 0
        self._token = secrets.token_hex(32)
        self._process: child.Process | None = None
        self._url = ""
        self._failed_s = 0.0
        self._failure = ""
        self._stopped = False
        self._start = Aside(self._started)

    def account(self, account: Litellm) -> Through:
        """What sends the requests of an account through the child."""
        self._accounts.append(account)
        return Through(self, len(self._accounts) - 1)

    @property
    def pid(self) -> int | None:
        """The child's process id; ``None`` where there is none."""
        return None if self._process is None else self._process.pid

    async def opened(self, number: int) -> tuple[str, str]:
        """Where the child listens and what opens it, once it does.  number: of the account.  Raises: ConnectFailed."""
        if not self._is_running(number):
            if self._clock_s() < self._failed_s + AGAIN_S and self._failure:
                raise ConnectFailed(self._failure)
            await self._start()
        return self._url, self._token

    def stop(self) -> None:
        """End the child; its requests are cut.  Blocks for a second at most, as a rule; idempotent."""
        self._stopped = True
        process, self._process = self._process, None
        if process is not None:
            child.end(process)

    def _is_running(self, number: int) -> bool:
        return self._process is not None and number < self._served and bool(self._url) and self._process.poll() is None

    def _started(self) -> None:
        """In a thread.  Raises: ConnectFailed."""
        if self._process is not None:
            child.end(self._process)
        accounts = tuple(self._accounts)
        process = child.spawn(self._program, [str(ceil(self._load_s))], environment=_ENVIRONMENT)
        self._process, self._url = process, ""
        if self._stopped:
            # Nobody else would end it; whoever stops the bridge from here on does.
            child.end(process)
            raise ConnectFailed(STOPPING)
        try:
            told = {"token": self._token, "accounts": [_told(it) for it in accounts]}
            url = child.handshake(process, json.dumps(told), self._load_s)
        except child.ChildFailed as error:
            self._process = None
            child.end(process)
            self._failed_s, self._failure = self._clock_s(), f"litellm's process did not start: {error}"
            raise ConnectFailed(self._failure) from error
        self._url, self._served, self._failure = url, len(accounts), ""


class Through:
    """Sends an account's requests to the child instead: a ``Signer``."""

    def __init__(self, bridge: Bridge, number: int) -> None:
        self._bridge = bridge
        self._number = number

    async def signed(self, request: HttpRequest) -> HttpRequest:
        """The request, to the child, once it is there.  Raises: ConnectFailed."""
        url, token = await self._bridge.opened(self._number)
        endpoint = urlsplit(request.url).path.strip("/")
        headers = {**request.headers, "authorization": f"Bearer {token}"}
        return HttpRequest(f"{url}/{self._number}/{endpoint}", headers, request.body)


def _told(account: Litellm) -> dict[str, object]:
    return {
        "provider": account.provider,
        "timeout_s": account.timeout_s,
        "api_key": account.api_key,
        "base_url": account.base_url,
        "settings": dict(account.settings),
    }
