"""Files, batches, background responses, put together: what providers keep for their makers, and what is metered later."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence

from fastapi import APIRouter
from starlette.applications import Starlette

from ledger.ports import JournalPort, PricingPort
from providers.anthropic.stored import KEEPING as ANTHROPIC
from providers.openai.stored import KEEPING as OPENAI
from proxy.api import batches as batch_routes
from proxy.api import file_uploads as upload_routes
from proxy.api import files as file_routes
from proxy.api.anthropic_kept import application
from proxy.api.batches import Batches
from proxy.api.file_uploads import Bounds as FileBounds
from proxy.api.file_uploads import FileUploads
from proxy.api.files import Files, Places
from proxy.api.message_batches import MessageBatches
from proxy.attempts.attempt import Sender
from proxy.attempts.control import Control
from proxy.batches.background import Background
from proxy.batches.desk import Bounds as BatchBounds
from proxy.batches.desk import Desk
from proxy.batches.opened import Opened
from proxy.batches.watcher import Times, Watcher
from proxy.call import Principal
from proxy.config import Config
from proxy.deployments.held import Held
from proxy.deployments.models import ModelTable
from proxy.disk.held_file import HeldFile
from proxy.disk.home import Home
from proxy.limits.counted import Counts
from proxy.metering.holds import Holds
from proxy.metering.outbox import Outbox
from proxy.stages.meter import Charged

HOUR_US = 3_600_000_000


class Storage:
    """The routes of files and batches, and the watch over the batches that are open.

    background: the same over responses.   parked: who is not to be asked just now.   limiter: counts the requests.
    charged: told of what they cost.
    """

    def __init__(
        self,
        config: Config,
        home: Home,
        transport: Sender,
        ledger: JournalPort,
        outbox: Outbox,
        holds: Holds,
        held: Held,
        *,
        limiter: Counts,
        prices: PricingPort,
        table: Callable[[], ModelTable],
        parked: Callable[[], Collection[tuple[str, str]]],
        charged: Sequence[Charged],
        request_id: Callable[[], str],
        clock_us: Callable[[], int],
    ) -> None:
        self._file = HeldFile(home.path / "batches.jsonl")
        opened = Opened(self._file, self._file.lines())
        self._file.rewrite(opened.lines())
        self._control = control = Control(transport, ledger, outbox, limiter=limiter, clock_s=time.monotonic, clock_us=clock_us)
        self._background_file = HeldFile(home.path / "background.jsonl")
        unfinished = Opened(self._background_file, self._background_file.lines())
        self._background_file.rewrite(unfinished.lines())
        self.background = Background(
            unfinished,
            held,
            control,
            ledger,
            holds,
            open_max=config.background.max_open,
            durable=config.ledger.durability == "power",
            prices=prices,
            table=table,
            times=_background_times(config),
            request_id=request_id,
            charged=charged,
            clock_s=time.monotonic,
            clock_us=clock_us,
        )
        # Where a file goes is no secret.
        places = Places(table, provider=config.files.provider, parked=parked, chance=random.random)
        self._watcher = Watcher(
            opened,
            held,
            control,
            ledger,
            holds,
            prices=prices,
            table=table,
            times=_times(config),
            request_id=request_id,
            charged=charged,
            clock_s=time.monotonic,
            clock_us=clock_us,
        )
        bounds, durable = _batch_bounds(config), config.ledger.durability == "power"
        desks = [
            Desk(control, held, opened, self._watcher, holds, words=words, table=table, bounds=bounds, durable=durable)
            for words in (OPENAI, ANTHROPIC)
        ]
        self._batches = Batches(desks[0], places, opened, worst_cases=holds.worst_cases, prices=prices, clock_s=time.monotonic)
        self._uploads = FileUploads(control, held, places, bounds=_file_bounds(config), clock_s=time.monotonic)
        self._files = Files(control, held, places, guard=self._batches.may_delete, now_s=time.time)
        self._message_files = Files(control, held, places, guard=_unguarded, now_s=time.time, words=ANTHROPIC)
        self._message_batches = MessageBatches(
            desks[1],
            places,
            opened,
            table=table,
            worst_cases=holds.worst_cases,
            prices=prices,
            clock_s=time.monotonic,
        )

    def routers(self, caller: Callable[..., Principal]) -> tuple[APIRouter, ...]:
        """Their routes.  caller: who is asking."""
        return (
            upload_routes.router(self._uploads, self._control, caller),
            file_routes.router(self._files, self._control, caller),
            batch_routes.router(self._batches, self._control, caller),
        )

    def anthropic(self, identify: Callable[[tuple[str, ...]], Principal]) -> Starlette:
        """What answers Anthropic's clients.  identify: who sends these Authorization headers."""
        return application(self._message_files, self._uploads, self._message_batches, self._control, identify)

    async def restore(self) -> None:
        """Hold again what open batches reserved; at the start.  Raises: LedgerUnavailable."""
        await self._watcher.restore()
        await self.background.restore()

    def tasks(self) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        """What looks at the open ones until it is cancelled.  Each is to be run once."""
        yield "batches", self._watcher.run()
        yield "background", self.background.run()

    def close(self) -> None:
        """Let go of the files in which they are remembered."""
        self._file.close()
        self._background_file.close()


async def _unguarded(principal: Principal, file_id: str) -> None:
    """No file of Anthropic's holds a batch's answers."""
    del principal, file_id


def _times(config: Config) -> Times:
    said = config.batches
    return Times(
        poll_s=said.poll_s, poll_max_s=said.poll_max_s, read_s=said.read_timeout_s, give_up_us=said.give_up_hours * HOUR_US
    )


def _background_times(config: Config) -> Times:
    said = config.background
    return Times(poll_s=said.poll_s, poll_max_s=said.poll_max_s, give_up_us=said.give_up_hours * HOUR_US)


def _batch_bounds(config: Config) -> BatchBounds:
    said = config.batches
    return BatchBounds(
        open_max=said.max_open,
        read_s=said.read_timeout_s,
        strict=config.ledger.unknown_price == "strict",
        body_max_bytes=said.max_bytes,
        piece_s=config.server.body_timeout_s,
    )


def _file_bounds(config: Config) -> FileBounds:
    return FileBounds(
        max_bytes=config.files.max_bytes, piece_s=config.server.body_timeout_s, total_s=config.files.upload_timeout_s
    )
