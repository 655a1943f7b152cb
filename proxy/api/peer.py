"""What the server tells of a client, and ASGI does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PEER = "tollway.peer"
"""The ASGI extension by which the server tells of its client."""


class Peer(Protocol):
    """What ASGI does not tell of a client, or only to who waits in ``receive`` for it: a task and a timer a request."""

    def is_whole(self) -> bool:
        """Whether all of the request's body has come."""
        ...

    def is_judged(self) -> bool:
        """Whether the door has let it in."""
        ...

    def write(self, events: bytes) -> bool:
        """Send a piece of a chunked answer at once; ``False``: the client is behind, and it has to go through ``send``."""
        ...

    def abandon(self) -> None:
        """End the connection in the middle of an answer, so that nobody takes what was sent for all of it."""
        ...

    def streams_events(self) -> None:
        """The answer that begins is a stream of server-sent events, and comes in pieces of whole events."""
        ...

    def when_gone(self, callback: Callable[[], object] | None) -> None:
        """Call it when the client has left; ``None``: never mind."""
        ...
