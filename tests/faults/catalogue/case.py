"""One repeat of a row: its own two providers, what it asks, and what the books say of it afterwards."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import httpx
import msgspec

from tests.fakes import replies
from tests.fakes.openai_upstream import Seen
from tests.fakes.replies import Step
from tests.faults.catalogue.row import Row

if TYPE_CHECKING:
    from tests.faults.catalogue.bench import Bench

T = TypeVar("T")

INPUT = ("input_uncached", "cache_read", "cache_write", "input_audio")
OUTPUT = ("output_text", "reasoning", "output_audio")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the client got.  broken: the connection ended before the answer did."""

    status: int
    headers: httpx.Headers
    body: bytes
    took_s: float
    broken: bool = False

    @property
    def events(self) -> list[bytes]:
        """Of a stream: its events, without their blank lines."""
        return [part for part in self.body.split(b"\n\n") if part]

    @property
    def error(self) -> dict[str, Any]:
        """The error, of the body or of the last event.  Raises: AssertionError, if it is not one of the contract's."""
        last = self.body if self.status != 200 else self.events[-1].removeprefix(b"data: ")
        try:
            found = json.loads(last)
        except ValueError as wrong:
            raise AssertionError(f"{self.status} {last[:200]!r} is no error of ours") from wrong
        assert list(found) == ["error"], found
        error: dict[str, Any] = found["error"]
        assert sorted(error) == ["code", "message", "param", "type"], error
        assert 0 < len(error["message"]) <= 512
        return error

    @property
    def text(self) -> str:
        """What the model said, of a whole chat answer or a stream of one."""
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            content = json.loads(self.body)["choices"][0]["message"]["content"]
            assert isinstance(content, str)
            return content
        chunks = [json.loads(event.removeprefix(b"data: ")) for event in self.events if not event.endswith(b"[DONE]")]
        parts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ())]
        return "".join(parts)

    @property
    def done(self) -> bool:
        """Whether the stream says that it is whole."""
        return self.body.endswith(b"data: [DONE]\n\n")


class Case:
    """What a scenario works with."""

    ASK: ClassVar[list[dict[str, str]]] = [{"role": "user", "content": "hello"}]
    TEXT: ClassVar[str] = "".join(replies.WORDS)

    def __init__(self, bench: Bench, row: Row, number: int) -> None:
        self.bench = bench
        self.upstream = bench.upstream
        self.number = number
        name = self.name(row, number)
        self.faulty, self.good = f"{name}-a", f"{name}-b"
        self.pair, self.both, self.solo = f"{name}-pair", f"{name}-both", f"{self.faulty}/{self.faulty}"
        self.upstream.serve(self.good)

    @staticmethod
    def name(row: Row, number: int) -> str:
        """What its providers and models are called by."""
        return f"{row.id.lower()}-{number}"

    # --- asking ---

    def script(self, *steps: Step) -> None:
        """What the faulty provider does, one step a request; the last one stays."""
        self.upstream.script(self.faulty, *steps)

    def pick(self, *choices: T) -> T:
        """Another one of them in every repeat."""
        return choices[self.number % len(choices)]

    async def ask(self, model: str = "", *, stream: bool = False, endpoint: str = "chat/completions", **fields: Any) -> Answer:
        """Ask a model, the faulty provider's own unless another is named, and take whatever comes."""
        body = {"model": model or self.solo, "messages": self.ASK, **({"stream": True} if stream else {}), **fields}
        started_s = time.monotonic()
        async with self.bench.client.stream("POST", f"/{endpoint}", json=body) as answer:
            read = bytearray()
            broken = False
            try:
                async for data in answer.aiter_bytes():
                    read += data
            except httpx.RemoteProtocolError:
                broken = True
        took_s = time.monotonic() - started_s
        return Answer(status=answer.status_code, headers=answer.headers, body=bytes(read), took_s=took_s, broken=broken)

    async def both_ways(self, model: str) -> list[Answer]:
        """Ask for a whole answer, and for a stream."""
        return [await self.ask(model), await self.ask(model, stream=True)]

    @asynccontextmanager
    async def raw(self, data: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection of one's own to the proxy, on which something has been sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.bench.proxy.port)
        try:
            writer.write(data)
            await writer.drain()
            yield reader, writer
        finally:
            writer.transport.abort()

    def request(self, body: dict[str, Any] | bytes, *headers: str, length: int | None = None) -> bytes:
        """The bytes of a chat request.  length: what Content-Length says, if not the truth."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        rows = [
            "POST /v1/chat/completions HTTP/1.1",
            f"host: 127.0.0.1:{self.bench.proxy.port}",
            f"authorization: Bearer {self.bench.proxy.api_key}",
            "content-type: application/json",
            f"content-length: {len(data) if length is None else length}",
            *headers,
        ]
        return "\r\n".join(rows).encode() + b"\r\n\r\n" + data

    async def answered_once(self, data: bytes) -> tuple[bytes, bool]:
        """Send a request of one's own; the body of its 200, and whether it says that it was answered before."""
        async with self.raw(data.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)) as (reader, _):
            head, _, read = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), (head, read[:300])
        if b"transfer-encoding: chunked" in head:
            pieces = []
            while read:
                size, _, read = read.partition(b"\r\n")
                pieces.append(read[: int(size, 16)])
                read = read[int(size, 16) + 2 :]
            read = b"".join(pieces)
        return read, b"idempotent-replayed: true" in head

    async def first_event(self, reader: asyncio.StreamReader, within_s: float = 5) -> None:
        """Read a stream up to its first event.  Raises: AssertionError, with what came instead if it is no stream."""
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), within_s)
        if not head.startswith(b"HTTP/1.1 200 "):
            length = re.search(rb"content-length: (\d+)", head)
            body = await asyncio.wait_for(reader.readexactly(int(length[1]) if length else 0), within_s)
            raise AssertionError(f"not answered but refused: {head.splitlines()[0]!r} {body[:300]!r}")
        await asyncio.wait_for(reader.readuntil(b"\n\n"), within_s)

    async def answered(self, data: bytes) -> tuple[int, bytes, bool]:
        """Send bytes of one's own; the answer's status and body, and whether the connection was closed after it."""
        async with self.raw(data) as (reader, _):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
            body = await asyncio.wait_for(reader.readexactly(length), 10)
            try:
                closed = await asyncio.wait_for(reader.read(1), 0.3) == b""
            except TimeoutError:
                closed = False
            return int(lines[0].split(" ")[1]), body, closed

    async def gather(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        """Do these side by side; what one of them raises is raised."""
        return list(await asyncio.gather(*work))

    # --- the books ---

    def seen(self) -> list[Seen]:
        """Everything that the two providers saw, in order."""
        names = (self.faulty, self.good)
        return [seen for seen in tuple(self.upstream.seen) if seen.model in names]

    async def records(self, count: int = 1) -> list[dict[str, Any]]:
        """The request records of this case, as soon as there are that many."""
        return await self.records_within(5, count)

    async def records_within(self, timeout_s: float, count: int = 1) -> list[dict[str, Any]]:
        """The same, with more patience."""
        query = "SELECT * FROM requests WHERE model IN (?, ?, ?, ?, ?) ORDER BY at_us"
        names = (self.solo, self.pair, self.both, f"{self.good}/{self.good}", self.faulty)
        deadline_s = time.monotonic() + timeout_s
        while len(rows := self.bench.proxy.rows(query, *names)) < count:
            assert time.monotonic() < deadline_s, f"{len(rows)} records, not {count}"
            await asyncio.sleep(0.02)
        assert len(rows) == count, f"{len(rows)} records, not {count}"
        return rows

    def metered(self, answer: Answer) -> list[str]:
        """How each try of a request ended in the journal: VOID, EXACT, EST or HELD."""
        rows = self.bench.proxy.rows(
            "SELECT kind, quality FROM entries WHERE request_id = ? AND kind IN ('SETTLE', 'VOID') ORDER BY attempt",
            answer.headers["x-request-id"],
        )
        names = {"exact": "EXACT", "estimated": "EST", "held": "HELD"}
        return [names[row["quality"]] if row["kind"] == "SETTLE" else "VOID" for row in rows]

    async def check_books(self) -> None:
        """The journal equals the upstream's own account of this case.  Raises: AssertionError.

        Every try that the upstream saw was reserved; every reservation has one end; what it billed is settled, and to the
        token where the usage reached us; what it did not bill is not charged as exact.
        """
        deadline_s = time.monotonic() + 5
        while problem := self._disagreement():
            assert time.monotonic() < deadline_s, problem
            await asyncio.sleep(0.05)

    def _disagreement(self) -> str:
        rows = self.bench.proxy.rows(
            "SELECT t.*, r.request_id AS request, r.upstream_model AS model_tried FROM entries AS r LEFT JOIN entries AS t "
            "ON t.request_id = r.request_id AND t.attempt = r.attempt AND t.kind IN ('SETTLE', 'VOID') "
            "WHERE r.kind = 'RESERVE' AND r.upstream_model IN (?, ?) ORDER BY r.id",
            self.faulty,
            self.good,
        )
        if ended := [row for row in rows if row["kind"] is None]:
            return f"{len(ended)} reservations have no end"
        tries: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            tries.setdefault((row["request"], row["model_tried"]), []).append(row)
        arrived: dict[tuple[str, str], list[Seen]] = {}
        for seen in self.seen():
            if seen.reply not in (replies.RESET, replies.EOF):  # sent again unasked, if the connection had been used before
                arrived.setdefault((seen.header("x-request-id") or "", seen.model), []).append(seen)
        for key, seen_ones in arrived.items():
            if len(seen_ones) > len(tries.get(key, ())):
                return f"the upstream saw {len(seen_ones)} tries of {key}, the journal {len(tries.get(key, ()))}"
            billed = [seen for seen in seen_ones if seen.usage is not None]
            settled = [row for row in tries[key] if row["kind"] == "SETTLE"]
            if len(billed) > len(settled):
                return f"{len(billed)} tries of {key} were billed, {len(settled)} settled"
            exact = [row for row in settled if row["quality"] == "exact"]
            counted = sorted((sum(row[name] for name in INPUT), sum(row[name] for name in OUTPUT)) for row in exact)
            told = sorted(_told(seen.usage) for seen in billed if seen.usage)
            if [it for it in counted if it not in told]:
                return f"{key} is settled as exact with {counted}, the upstream billed {told}"
            for row in exact:
                if row["cost_nusd"] != _cost_nusd(json.loads(row["usage_raw"])):
                    return f"{key} cost {row['cost_nusd']}, the upstream charged {_cost_nusd(json.loads(row['usage_raw']))}"
        return ""


def _told(usage: dict[str, Any]) -> tuple[int, int]:
    return usage["prompt_tokens"], usage.get("completion_tokens", 0)


def _cost_nusd(usage: dict[str, Any]) -> int:
    """What the upstream charges for that usage, at the bench's prices: 3, 15 and 0.30 dollars a million."""
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return 3000 * (usage["prompt_tokens"] - cached) + 300 * cached + 15000 * int(usage.get("completion_tokens") or 0)
