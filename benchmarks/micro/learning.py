"""What learning costs a request: its decision kept, its answer listened to, and looked at afterwards.

``python -m benchmarks.micro.learning [--rounds 7] [--seconds 0.1]``

CPU time of one thread, the best of several rounds.  What is looked at afterwards is done in a thread of its own, off the
request's way; it is CPU time all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.micro.stages import best_us
from ledger import migrations
from ledger.journal.batch import Batch, append
from ledger.journal.books import Books
from ledger.journal.decisions import note_checks, routed
from ledger.live import LiveView
from ledger.live.outcomes import Outcomes
from ledger.records import Checked
from proxy.call import Streaming
from proxy.learning import calibration, checks
from proxy.learning.answers import read
from proxy.learning.judge import Judge
from proxy.learning.learned import Learned
from proxy.learning.records import record_of
from proxy.learning.replay import by_record, compared, replay
from proxy.routing.policy import POLICIES
from proxy.routing.router import decide
from tests.ledger.samples import record
from tests.proxy.learning.memory import MemoryLearning
from tests.proxy.learning.test_judge import Pieces, asking, chunk, saying
from tests.proxy.routing.worlds import ASK, Known, field_of

SCHEMA = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "price": {"type": "number"}, "kind": {"enum": ["a", "b"]}},
                "required": ["name", "price", "kind"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["items"],
    "additionalProperties": False,
}
FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
ITEMS = json.dumps({"items": [{"name": f"thing number {n}", "price": n / 7, "kind": "a"} for n in range(20)]})
HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()
REPLAYED = 2_000


def told(what: str, us: float) -> None:
    """Print a figure."""
    print(f"{what:<64} {us:8.2f} µs")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1)
    given = parser.parse_args()

    def us(work) -> float:  # type: ignore[no-untyped-def]  # whatever is measured
        return best_us(work, rounds=given.rounds, seconds=given.seconds)

    field = field_of({f"m{n}": Known(score=30 + n, input_usd=0.1 * 1.2**n, ttft_ms=300 + 10 * n) for n in range(50)})
    decision = decide(field, ASK, POLICIES["auto"])
    made = record_of(decision, request_id="req_0123456789abcdef00000001", at_us=1)
    told("a decision of 50 candidates as it is kept", us(lambda: record_of(decision, request_id="req_1", at_us=1)))
    print(f"{'  its size':<64} {len(made.features) + len(made.candidates):8d} bytes")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        count = iter(range(10**9))

        def written(*, decided: bool) -> None:
            entries = []
            for _ in range(16):
                name = f"req_{next(count):024d}"
                entries.append(record(name))
                if decided:
                    entries.append(record_of(decision, request_id=name, at_us=next(count)))
            statements = Batch(entries).statements(connection, Books())
            connection.execute("BEGIN")
            append(connection, statements)
            connection.execute("COMMIT")

        plain = us(lambda: written(decided=False)) / 16
        whole = us(lambda: written(decided=True)) / 16
        told(
            "its row in the transaction of the record, in batches of 16",
            whole - plain - us(lambda: record_of(decision, request_id="r", at_us=1)),
        )  # one thing
        row = Checked(request_id="req_1", at_us=1, offer="acme/gpt", task="coding", passed=("answered", "whole"))
        told("a row of checks, in batches of 64", us(lambda: note_checks(connection, [row] * 64)) / 64)

    learned = Learned(LiveView, lambda: 1.8e9)
    judge = Judge(
        learned,
        MemoryLearning(),
        task_of=lambda _: "coding",
        is_routed=lambda _: True,
        clock_us=lambda: 1,
        again_s=120,
    )
    asked, formed = asking(), asking(fields=FORM)
    streamed = asking(fields={"stream": True})

    def queued() -> None:
        judge.answered(asked, b"{}")
        judge._queue.clear()
        judge._waiting = 0

    told("a whole answer, handed over", us(queued))
    told("a plain stream, looked over at its beginning", us(lambda: judge.listen(streamed, Streaming(200, [], Pieces()))))
    pieces = [chunk("a word")] * 500

    async def through(*, kept: bool) -> None:
        reply = Streaming(200, [], Pieces(*pieces))
        if kept:
            judge.listen(formed, reply)
        while await reply.chunks.read(lambda _: True):
            pass
        if kept:
            judge._held = 0

    def run(*, kept: bool) -> None:
        asyncio.run(through(kept=kept))

    told("a kept stream, each piece", (us(lambda: run(kept=True)) - us(lambda: run(kept=False))) / len(pieces))

    print("\nafterwards, in a thread:")
    plain_body = saying("word " * 400)
    formed_body = saying(ITEMS)
    events = b"".join((*(chunk(ITEMS[n : n + 8]) for n in range(0, len(ITEMS), 8)), chunk("", "stop")))
    told("a plain answer of 2 kB", us(lambda: _judged(asked.body, plain_body, stream=False)))
    told("an answer of 1.2 kB against its schema", us(lambda: _judged(formed.body, formed_body, stream=False)))
    told(f"the same as a stream of {events.count(b'data:')} events", us(lambda: _judged(formed.body, events, stream=True)))
    outcomes = Outcomes(lambda: 1.8e9)
    told("a judgement, counted", us(lambda: outcomes.observe("acme/gpt", "coding", "check_pass_rate", 1.0)))

    print("\nreports:")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        entries = []
        for n in range(REPLAYED):
            entries += [record(f"req_{n}"), record_of(decision, request_id=f"req_{n}", at_us=n)]
        for text, values in Batch(entries).statements(connection, Books()):
            connection.execute(text, values)
        found = routed(connection)
        told("a routed request, read", us(lambda: routed(connection)) / REPLAYED)
    redo = by_record(POLICIES["auto:cheap"])
    told("a request, decided once more of what was recorded", us(lambda: list(replay(found, redo))) / REPLAYED)
    turns = [turn for turn in replay(found, redo) if turn is not None]
    told("a replayed request, summed up", us(lambda: compared(turns)) / REPLAYED)
    told("a request, calibrated", us(lambda: calibration.calibration(found)) / REPLAYED)


def _judged(request: bytes, body: bytes, *, stream: bool) -> None:
    verdict = checks.judge(checks.asked_of(request, bounded=False), read("chat/completions", body, stream=stream))
    assert not verdict[1]


if __name__ == "__main__":
    main()
