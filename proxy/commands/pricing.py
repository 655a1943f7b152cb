"""``tollway ledger pricing``: whether the prices can be relied on.  Every command exits 1 where they cannot, for CI."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from ledger.cli import usd
from ledger.errors import LedgerError
from ledger.journal.reports import usage
from ledger.prices import governance
from ledger.prices.book import Book, Listed
from ledger.prices.governance import Covered, Own, Used
from proxy.config import Config, PriceConfig
from proxy.disk.home import Home
from proxy.metering import price_file, prices
from proxy.metering.price_file import PriceFileRefused

Load = Callable[[Path | None, dict[str, str]], Config]
MakeBook = Callable[[Config], Book]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="The YAML file; as for serve.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
Month = Annotated[str, typer.Option(help="Of this month only, such as 2026-11. Default: ever.")]
PatchFile = Annotated[Path, typer.Argument(help="A file of price rows, as under 'ledger.prices'.", metavar="PATCH")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be, and write nothing.")]
Backup = Annotated[bool, typer.Option("--backup/--no-backup", help="Keep the old file beside the new one.")]


class _Desk:
    """What the commands work with."""

    def __init__(
        self,
        load: Load,
        home: Callable[[], Home],
        book: MakeBook,
        providers: Callable[[Config], list[str]],
        fail: Callable[[str], NoReturn],
    ) -> None:
        self._load = load
        self._home = home
        self._book = book
        self.providers = providers
        self.fail = fail

    @property
    def path(self) -> Path:
        """The file of one's own rows."""
        return self._home().path / price_file.NAME

    def config(self, config_file: Path | None) -> Config:
        """The configuration, without the file's rows."""
        return self._load(config_file, {})

    def book(self, config: Config, rows: Sequence[PriceConfig]) -> Book:
        """The book with the configuration's rows and some of a file."""
        filled = tuple(row for row in rows if row.is_filled)
        ledger = config.ledger.model_copy(update={"prices": (*filled, *config.ledger.prices)})
        return self._book(config.model_copy(update={"ledger": ledger}))

    def lists(self, config: Config) -> Book:
        """The book of the lists alone."""
        return self._book(config.model_copy(update={"ledger": config.ledger.model_copy(update={"prices": ()})}))

    def read(self, path: Path) -> list[PriceConfig]:
        """The rows of a file."""
        try:
            return price_file.read(path)
        except PriceFileRefused as error:
            self.fail(str(error))

    def patch(self, path: Path) -> list[PriceConfig]:
        """The rows of a patch, which must be there."""
        if not path.exists():
            self.fail(f"{path} is not there")
        return self.read(path)

    def own(self, config: Config, rows: Sequence[PriceConfig], place: str) -> list[Own]:
        """Rows as governance looks at them, the configuration's first."""
        found = [_own(row, f"ledger.prices[{at}]") for at, row in enumerate(config.ledger.prices)]
        return found + [_own(row, f"{place} row {at}") for at, row in enumerate(rows, start=1)]

    def used(self, config: Config, month: str) -> list[Used]:
        """What was asked for, and what the configuration names."""
        since_us, until_us = _month(month, self.fail)
        path = config.ledger.path(self._home().path)
        try:
            rows = usage(path, by="model", since_us=since_us, until_us=until_us) if path.exists() else []
        except LedgerError as error:
            self.fail(str(error))
        requests = {row.group: row.requests for row in rows if "/" in row.group}
        named = [target.model for model in config.models.values() for target in model.targets]
        named += [f"{name}/{model}" for name, provider in config.providers.items() for model in provider.models]
        for model in named:
            requests.setdefault(model, 0)
        return [Used(provider=it.partition("/")[0], model=it.partition("/")[2], requests=n) for it, n in requests.items()]


def add(
    ledger: typer.Typer,
    *,
    load: Load,
    home: Callable[[], Home],
    book: MakeBook,
    providers: Callable[[Config], list[str]],
    fail: Callable[[str], NoReturn],
) -> None:
    """Add the commands as ``tollway ledger pricing``."""
    desk = _Desk(load, home, book, providers, fail)
    pricing = typer.Typer(help="Whether the prices can be relied on: for people and for CI.", no_args_is_help=True)
    ledger.add_typer(pricing, name="pricing")
    _reports(pricing, desk)
    _writers(pricing, desk)


def _reports(pricing: typer.Typer, desk: _Desk) -> None:
    @pricing.command()
    def check(month: Month = "", json: Json = False, config_file: ConfigFile = None) -> None:
        """Is everything that was asked for priced?  Exits 1 if not: what has no price is not free."""
        config = desk.config(config_file)
        rows = governance.covered(desk.book(config, desk.read(desk.path)), desk.used(config, month), at_us=_now_us())
        missing = governance.unpriced(rows)
        summary = f"{len(rows) - len(missing)} of {len(rows)} models are priced"
        _say([*map(_covered_line, missing), summary], {"checked": len(rows), "unpriced": missing}, json=json)
        _exit(bool(missing))

    @pricing.command()
    def coverage(
        month: Month = "",
        write_patch: Annotated[Path | None, typer.Option(help="Write a patch to fill in for what has no price.")] = None,
        json: Json = False,
        config_file: ConfigFile = None,
    ) -> None:
        """Which model is priced by whom, those without a price first.  Exits 0: check is for CI."""
        config = desk.config(config_file)
        rows = governance.covered(desk.book(config, desk.read(desk.path)), desk.used(config, month), at_us=_now_us())
        if write_patch is not None:
            missing = [f"{row.provider}/{row.model}" for row in governance.unpriced(rows)]
            try:
                write_patch.write_text(price_file.stubs(missing), encoding="utf-8")
            except OSError as error:
                desk.fail(f"{write_patch} cannot be written: {error.strerror}")
        _say([*map(_covered_line, rows)] or ["nothing was asked for yet"], rows, json=json)

    @pricing.command()
    def lint(
        file: Annotated[Path | None, typer.Argument(help="A file of rows. Default: prices.yaml and the configuration.")] = None,
        json: Json = False,
        config_file: ConfigFile = None,
    ) -> None:
        """What is wrong with your own rows.  Exits 1 at an error, not at a warning."""
        config = desk.config(config_file)
        place = file or desk.path
        rows = desk.patch(place) if file else desk.read(place)
        own = [_own(row, f"{place.name} row {at}") for at, row in enumerate(rows, 1)] if file else desk.own(
            config, rows, place.name
        )  # fmt: skip
        found = governance.lint(own, desk.lists(config), desk.providers(config), at_us=_now_us())
        lines = [f"{it.level}: {it.place}: {it.what}" for it in found] or [f"{len(own)} rows, nothing is wrong with them"]
        _say(lines, found, json=json)
        _exit(any(it.level == "error" for it in found))

    @pricing.command()
    def audit(
        max_age_days: Annotated[int, typer.Option(min=0, max=36_500, help="How old a list may be.")] = 30,
        json: Json = False,
        config_file: ConfigFile = None,
    ) -> None:
        """How old the price lists are.  Exits 1 if one is older than it may be; one without a date is only named."""
        ages = governance.audit(desk.lists(desk.config(config_file)), at_us=_now_us(), age_max_days=max_age_days)
        lines = [
            f"{it.name}: {'it does not say of when it is' if it.age_days is None else f'{it.age_days} days old'}"
            + (f", more than {max_age_days}" if it.stale else "")
            for it in ages
        ]
        _say(lines, ages, json=json)
        _exit(any(it.stale for it in ages))

    @pricing.command()
    def agreement(
        provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
        all_rows: Annotated[bool, typer.Option("--all", help="Those that agree, too.")] = False,
        json: Json = False,
        config_file: ConfigFile = None,
    ) -> None:
        """Models that litellm's list and genai-prices' both have, and the rule that decides where they disagree."""
        config = desk.config(config_file)
        names = desk.providers(config)
        if provider is not None and provider not in names:
            desk.fail(f"there is no provider {provider!r}; there are: {', '.join(names)}")
        book = desk.lists(config)
        first, second = _published(book)
        rows = list(governance.agreements(first, second, book, [provider] if provider else names, at_us=_now_us()))
        shown = [row for row in rows if all_rows or row.rule not in ("same", "one_is_silent")]
        counts = {rule: sum(row.rule == rule for row in rows) for rule in governance.RULES}
        lines = [_agreement_line(row, first.source.name, second.source.name) for row in shown]
        lines += [f"{count} by {rule}: {governance.RULES[rule]}" for rule, count in counts.items() if count]
        _say([*lines, f"{len(rows)} models are in both lists"], {"counts": counts, "rows": shown}, json=json)


def _writers(pricing: typer.Typer, desk: _Desk) -> None:
    @pricing.command(name="apply")
    def apply_patch(
        patch: PatchFile,
        dry_run: DryRun = False,
        backup: Backup = True,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Rows that are there already may be replaced.")] = False,
        json: Json = False,
        config_file: ConfigFile = None,
    ) -> None:
        """Take the rows of a patch into prices.yaml.  Refused as a whole if lint finds an error in what would be."""
        config = desk.config(config_file)
        outcome = _applied(desk, config, patch, overwrite=overwrite)
        if not dry_run and outcome["rows"]:
            outcome["backup"] = _write(desk, outcome["rows"], backup=backup)
        _tell_applied(outcome, desk.path, dry_run=dry_run, json=json)

    @pricing.command()
    def reconcile(
        patch: PatchFile,
        month: Month = "",
        dry_run: DryRun = False,
        backup: Backup = True,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Rows that are there already may be replaced.")] = False,
        json: Json = False,
        config_file: ConfigFile = None,
    ) -> None:
        """Coverage before, the patch, coverage after.  Exits 1 if something has no price even then."""
        config = desk.config(config_file)
        used = desk.used(config, month)
        before = governance.unpriced(governance.covered(desk.book(config, desk.read(desk.path)), used, at_us=_now_us()))
        outcome = _applied(desk, config, patch, overwrite=overwrite)
        after = governance.unpriced(governance.covered(desk.book(config, outcome["rows"]), used, at_us=_now_us()))
        if not dry_run and outcome["rows"]:
            outcome["backup"] = _write(desk, outcome["rows"], backup=backup)
        outcome |= {"unpriced_before": before, "unpriced_after": after}
        _tell_applied(outcome, desk.path, dry_run=dry_run, json=json)
        _exit(bool(after))


def _applied(desk: _Desk, config: Config, path: Path, *, overwrite: bool) -> dict[str, Any]:
    """What ``prices.yaml`` would be with a patch.  Ends the command where that may not be."""
    patch, rows = desk.patch(path), desk.read(desk.path)
    there = {(row.model, row.effective_from, row.effective_to): row for row in rows}
    replaced = [row for row in patch if there.get((row.model, row.effective_from, row.effective_to), row) != row]
    if replaced and not overwrite:
        desk.fail(f"{replaced[0].model} has another price in {desk.path} already; --overwrite replaces it")
    merged = price_file.merged(rows, patch)
    own = [_own(row, f"{path.name} row {at}") for at, row in enumerate(patch, start=1)]
    known = {(row.model, row.effective_from, row.effective_to) for row in patch}
    kept = [row for row in merged if (row.model, row.effective_from, row.effective_to) not in known]
    others = [_own(row, f"{desk.path.name} row {at}") for at, row in enumerate(kept, start=1)]
    found = governance.lint([*others, *own], desk.lists(config), desk.providers(config), at_us=_now_us())
    errors = [it for it in found if it.level == "error" and it.place.startswith(f"{path.name} ")]
    if errors:
        desk.fail("the patch is refused:\n" + "\n".join(f"{it.place}: {it.what}" for it in errors))
    return {"rows": merged, "added": len(merged) - len(rows), "replaced": len(replaced), "backup": None}


def _write(desk: _Desk, rows: Sequence[PriceConfig], *, backup: bool) -> str | None:
    try:
        kept = price_file.write(desk.path, rows, now_s=time.time() if backup else None)
    except PriceFileRefused as error:
        desk.fail(str(error))
    return str(kept) if kept else None


def _tell_applied(outcome: dict[str, Any], path: Path, *, dry_run: bool, json: bool) -> None:
    told = {key: value for key, value in outcome.items() if key != "rows"}
    verb = "would be" if dry_run else "are"
    lines = [f"{outcome['added']} rows {verb} added to {path}, {outcome['replaced']} {verb} replaced"]
    if outcome["backup"]:
        lines.append(f"the old file is {outcome['backup']}")
    if "unpriced_after" in outcome:
        lines += [*map(_covered_line, outcome["unpriced_after"])]
        lines.append(f"without a price: {len(outcome['unpriced_before'])} before, {len(outcome['unpriced_after'])} after")
    if not dry_run and outcome["rows"]:
        lines.append("a running server reads it when it starts again")
    _say(lines, told | {"dry_run": dry_run, "path": str(path)}, json=json)


def _own(row: PriceConfig, place: str) -> Own:
    return Own(place=place, model=row.model, price=prices.declared_price(row) if row.is_filled else None)


def _published(book: Book) -> tuple[Listed, Listed]:
    """The lists of others, in the book's order: the last two."""
    return book.lists[-2], book.lists[-1]


def _covered_line(row: Covered) -> str:
    asked = f"{row.requests} requests" if row.requests else "configured"
    return f"{row.provider}/{row.model} ({asked}): {(row.why_not and f'NO PRICE: {row.why_not}') or row.source}"


def _agreement_line(row: governance.Agreement, first: str, second: str) -> str:
    amounts = "; ".join(
        f"{field.partition('_nusd')[0].replace('_', ' ')} {first}: {_amount(one)}, {second}: {_amount(other)}"
        for field, (one, other, _) in row.amounts.items()
    )
    return f"{row.provider}/{row.model}  {row.rule}  {amounts}  counts: {row.counts}"


def _amount(nusd: int | None) -> str:
    return "-" if nusd is None else usd(nusd)


def _say(lines: Sequence[str], told: Any, *, json: bool) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode() if json else "\n".join(lines))


def _exit(is_wrong: bool) -> None:
    if is_wrong:
        sys.exit(1)


def _month(month: str, fail: Callable[[str], NoReturn]) -> tuple[int, int]:
    """A month's first and last moment in microseconds; ever, if it is empty."""
    if not month:
        return 0, 2**63 - 1
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        fail(f"{month!r} is no month; one is written 2026-11")
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return round(first.timestamp()) * 1_000_000, round(after.timestamp()) * 1_000_000


def _now_us() -> int:
    return time.time_ns() // 1000
