"""Usage objects as no provider should send them: nothing raises, and nothing that comes out is negative or no integer.

``python -m tests.faults.usages [--objects 1000000] [--seed 1]`` prints how many were read as what; it ends with 1 if anything
is wrong.  Each object has the fields of one vendor's API with values that are plausible, huge, negative, fractional, textual,
nested, NaN or absent, and some are cut or have a byte flipped.  What is read goes on, as in the meter, into a price with
tiers, a settlement and the row that the journal would bind.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from typing import Any

import msgspec

from ledger.journal.entries import TYPES, settle_row
from ledger.prices.cost import cost_nusd
from ledger.records import ContextTier, Price, Rates, ServiceTier, Settlement, Tokens
from providers.usage import read
from providers.usage.semantics import ROWS, Semantics

NAMES = Tokens.__struct_fields__
RATES: dict[str, Any] = {name: 1_234_567 * number for number, name in enumerate(Rates.__struct_fields__, start=1)}
PRICE = Price(
    source="list",
    context_tiers=(ContextTier(above_tokens=200_000, rates=Rates(**RATES)),),
    service_tiers=(ServiceTier(name="batch", rates=Rates(**RATES)),),
    **RATES,
)
COST_MAX_NUSD = 2**63 - 1
PLAUSIBLE = (0, 1, 7, 100, 4096, 200_001)
HOSTILE: tuple[Any, ...] = (
    *(-1, -(2**63), 2**31 - 1, 2**31, 2**63, 2**64, 10**30, 1.0, 0.5, -0.0, 1e300, float("nan"), float("inf")),
    *("", "7", "-1", "1e9", "NaN", "٣", "\x00", None, True, False, [], {}, [1], {"a": 1}, "x" * 100),
)


def paths(semantics: Semantics) -> list[tuple[str, ...]]:
    """Where the fields are that a vendor's row knows."""
    found: list[tuple[str, ...]] = []

    def walk(value: Any) -> None:
        if isinstance(value, str) and value:
            found.append(tuple(value.split(".")))
        elif isinstance(value, tuple | list):
            for item in value:
                walk(item)

    for name in semantics.__struct_fields__:
        if name not in ("vendor", "api", "source", "cache", "reasoning_place", "stream", "tree"):
            walk(getattr(semantics, name))
    return found


def hostile(chance: random.Random, known: list[tuple[str, ...]]) -> bytes:
    """One object, as bytes."""
    whole: dict[str, Any] = {}
    for path in known:
        dice = chance.random()
        if dice < 0.3:
            continue
        holder = whole
        for name in path[:-1]:
            inner = holder.setdefault(name, {})
            if not isinstance(inner, dict):
                break
            holder = inner
        else:
            holder[path[-1]] = chance.choice(PLAUSIBLE) if dice < 0.8 else chance.choice(HOSTILE)
    raw = json.dumps(whole, ensure_ascii=chance.random() < 0.5).encode()
    dice = chance.random()
    if dice < 0.02:
        return raw[: chance.randrange(len(raw) + 1)]
    if dice < 0.04:
        place = chance.randrange(len(raw))
        return raw[:place] + bytes((chance.randrange(256),)) + raw[place + 1 :]
    return raw


def fault(raw: bytes, semantics: Semantics) -> tuple[str, str]:
    """What it was read as, and what is wrong with that; nothing, if nothing is."""
    usage = read(raw, semantics)
    if usage is None:
        return "estimated", ""
    tokens = Tokens(**{name: getattr(usage, name) for name in NAMES})
    counts = [getattr(tokens, name) for name in NAMES]
    if any(type(count) is not int or count < 0 for count in (*counts, tokens.input_tokens, tokens.output_tokens)):
        return "wrong", f"counts {counts}"
    if usage.cost_nusd is not None and (type(usage.cost_nusd) is not int or usage.cost_nusd < 0):
        return "wrong", f"a reported cost of {usage.cost_nusd!r}"
    nusd = cost_nusd(PRICE, tokens, service_tier=usage.service_tier)
    if type(nusd) is not int or not 0 <= nusd <= COST_MAX_NUSD:
        return "wrong", f"a cost of {nusd!r}"
    row = settle_row(
        Settlement(
            request_id="r",
            attempt=1,
            at_us=1,
            quality="exact",
            tokens=tokens,
            cost_nusd=nusd,
            price_source="list",
            usage_raw=usage.raw,
        )
    )
    if tuple(map(type, row)) not in TYPES["SETTLE"]:
        return "wrong", f"a row of {[type(value).__name__ for value in row]}"
    return "exact", ""


class Finding(msgspec.Struct):
    """How many were read as what, and the first few that are wrong."""

    read_as: Counter[str]
    wrong: list[str]


def run(objects: int, seed: int) -> Finding:
    """So many objects, the vendors in turn."""
    chance = random.Random(seed)  # noqa: S311  # chance that can be repeated, not a secret
    rows = [(semantics, paths(semantics)) for semantics in ROWS.values()]
    finding = Finding(Counter(), [])
    for number in range(objects):
        semantics, known = rows[number % len(rows)]
        raw = hostile(chance, known)
        try:
            kind, wrong = fault(raw, semantics)
        except Exception as error:  # that nothing raises is what is measured
            kind, wrong = "raised", f"{type(error).__name__}: {error}"
        finding.read_as[kind] += 1
        if wrong and len(finding.wrong) < 10:
            finding.wrong.append(f"{semantics.vendor} {semantics.api}: {wrong} of {raw!r}")
    return finding


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began_s = time.monotonic()
    finding = run(given.objects, given.seed)
    for line in finding.wrong:
        print(line)
    print(f"{given.objects} hostile usage objects in {time.monotonic() - began_s:.0f} s: {dict(finding.read_as)}")
    return 1 if finding.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
