"""Items of answers that no provider keeps, for clients that refer to them in their next request instead of saying them again.

OpenAI keeps responses, so its clients may send ``{"type": "item_reference", "id": …}`` for what a model said before; the AI
SDK does so by default.  An answer that was translated, or comes from a host that keeps nothing, says ``"store": false``.  What
it consists of is remembered here, in memory, for the key that asked, and put where its reference stands before anybody looks at
the request.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final

import msgspec
from msgspec.structs import replace

from proxy.call import Call, Completed, Reply

ITEM_MAX_BYTES: Final = 1024 * 1024
OVERHEAD_BYTES: Final = 400
"""What one of them takes besides itself."""

_UNKEPT: Final = re.compile(rb'"store"\s*:\s*false')
_MARK: Final = b"item_reference"
_END: Final = re.compile(rb"^event: response\.(?:completed|incomplete)\ndata: (.*)$", re.MULTILINE)
_read_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Item(msgspec.Struct, frozen=True):
    type: str = ""
    id: str = ""


class _Answer(msgspec.Struct, frozen=True):
    output: list[msgspec.Raw] = []
    store: bool | None = None


class _Event(_Answer, frozen=True):
    """An answer, or the event that ends a stream and has it in it."""

    response: _Answer | None = None


_read_item: Final = msgspec.json.Decoder(_Item).decode
_read_event: Final = msgspec.json.Decoder(_Event).decode


class References:
    """What is remembered.  max_bytes: of all keys together; the oldest is forgotten first; 0: nothing is remembered."""

    def __init__(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def keep(self, call: Call, reply: Reply) -> Reply:
        """Remember what the reply consists of, if nobody else keeps it although its client has not said not to.

        4 µs and 3 more an item, for answers of the Responses API alone.
        """
        if call.endpoint != "responses" or not call.head.stores or not self._max_bytes:
            return reply
        if isinstance(reply, Completed):
            self._take(call, reply.body)
            return reply
        chunks = reply.chunks

        async def ended() -> None:
            if (found := _END.search(chunks.closing)) is not None:
                self._take(call, found[1])

        reply.on_end(ended)
        return reply

    def resolved(self, call: Call) -> Call:
        """The call with items in place of the references to them; those that are not known here are left for its provider."""
        if call.endpoint != "responses" or not self._items or _MARK not in call.body:
            return call
        fields = _read_fields(call.body)
        try:
            items = _read_items(fields["input"])
        except (KeyError, msgspec.DecodeError):
            return call
        put: set[str] = set()
        found = [one for item in items if (one := self._found(call, item, put)) is not None]
        if not put:
            return call
        fields["input"] = msgspec.Raw(msgspec.json.encode(found))
        return replace(call, body=msgspec.json.encode(fields))

    def __len__(self) -> int:
        return len(self._items)

    def _take(self, call: Call, said: bytes) -> None:
        if _UNKEPT.search(said) is None:
            return
        try:
            event = _read_event(said)
            answer = event.response or event
            if answer.store is False:
                self._keep(call, answer.output)
        except msgspec.DecodeError:
            # It is none of the Responses API's, and so nobody refers to it.
            return

    def _keep(self, call: Call, items: list[msgspec.Raw]) -> None:
        for item in items:
            name = _read_item(item).id
            size = len(bytes(item)) + OVERHEAD_BYTES
            if not name or size > min(ITEM_MAX_BYTES, self._max_bytes):
                continue
            key = (_key_id(call), name)
            self._forget(key)
            self._items[key] = bytes(item)
            self._bytes += size
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._items)))

    def _forget(self, key: tuple[str, str]) -> None:
        if (known := self._items.pop(key, None)) is not None:
            self._bytes -= len(known) + OVERHEAD_BYTES

    def _found(self, call: Call, item: msgspec.Raw, put: set[str]) -> msgspec.Raw | None:
        """What stands in an item's place; nothing, if it refers to one that has been put: the AI SDK sends a reference for each
        text of a message.
        """
        if _MARK not in bytes(item):
            return item
        try:
            said = _read_item(item)
        except msgspec.DecodeError:
            return item
        key = (_key_id(call), said.id)
        if said.type != _MARK.decode() or key not in self._items:
            return item
        if said.id in put:
            return None
        put.add(said.id)
        self._items.move_to_end(key)
        return msgspec.Raw(self._items[key])


def _key_id(call: Call) -> str:
    return call.principal.key_id if call.principal is not None else ""
