"""What protocols that keep things have in common: files and batches, how they are asked about, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from providers.errors import InvalidResponse
from providers.provider import HttpRequest, Upstream

T = TypeVar("T")


def reader(kind: type[T], what: str) -> Callable[[bytes | str], T]:
    """Reads what a provider answers as this kind of struct; it raises InvalidResponse.  what: its name in the error."""
    decode = msgspec.json.Decoder(kind).decode

    def read(body: bytes | str) -> T:
        try:
            return decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidResponse(f"The upstream's answer is not the {what} that the protocol promises.") from error

    return read


class KeptFile(Protocol):
    """A file, as its provider describes it.  expires_s: seconds since the epoch; ``None``: it is kept."""

    @property
    def id(self) -> str:
        """What it is called."""
        ...

    @property
    def expires_s(self) -> float | None:
        """When it will be gone."""
        ...


class KeptBatch(Protocol):
    """A batch, as its provider describes it."""

    @property
    def id(self) -> str:
        """What it is called."""
        ...

    @property
    def status(self) -> str:
        """How it is, or ended, in OpenAI's words."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        ...

    @property
    def answers(self) -> str:
        """Where its answers are, below the base URL; empty: there are none."""
        ...

    @property
    def made(self) -> tuple[str, ...]:
        """The ids of the files that it has made so far."""
        ...

    @property
    def output_file_id(self) -> str | None:
        """The one of them with its answers."""
        ...

    @property
    def input_file_id(self) -> str:
        """The file with its requests; empty: they came with it."""
        ...

    @property
    def requests(self) -> int:
        """How many it has; 0: nobody has said so."""
        ...

    @property
    def created_s(self) -> float:
        """When it was made, in seconds since the epoch."""
        ...

    @property
    def usage(self) -> msgspec.Raw:
        """Of all of it, where its provider adds it up itself."""
        ...


class Answered(msgspec.Struct, frozen=True):
    """One answer of a batch.  status_code: of the request; ``None``: it was never made.  body: the answer.

    custom_id: what its client calls the request.
    """

    status_code: int | None
    body: bytes
    custom_id: str = ""


class About(Protocol):
    """Makes requests about what an upstream keeps."""

    def __call__(
        self,
        method: str,
        path: str,
        *,
        upstream: Upstream,
        request_id: str,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> HttpRequest:
        """One of them.  path: below the base URL, with its query.  headers: those of the client's that go on."""
        ...


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """How one protocol does it.

    files, batches: their paths below the base URL.  after: the field of a query that says which one a page follows.
    file, batch, page: read what is said of them.  Raise: InvalidResponse.
    answered: one line of a batch's answers; ``None``: it is no such line.
    """

    protocol: Literal["openai", "anthropic"]
    files: str
    batches: str
    after: str
    about: About
    file: Callable[[bytes | str], KeptFile]
    batch: Callable[[bytes | str], KeptBatch]
    page: Callable[[bytes], tuple[Sequence[KeptBatch], bool]]
    answered: Callable[[bytes], Answered | None]
