"""What Anthropic keeps: files and message batches, as its objects tell of them.

Source: platform.claude.com/docs/en/api/messages/batches and …/files, and anthropic 2.8 (Python), read 2026-11.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from providers.anthropic import wire
from providers.errors import InvalidResponse
from providers.keeping import Answered, Keeping, reader
from providers.provider import HttpRequest, Upstream

BATCHES: Final = "messages/batches"
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d{1,9})?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)


def seconds_of(text: str | None) -> float | None:
    """A time of RFC 3339's, in seconds since the epoch; ``None``: it is none."""
    found = _TIME.fullmatch(text or "")
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(it) for it in found.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and year):
        return None
    offset = 0 if found[8] is None else (int(found[9]) * 60 + int(found[10])) * 60
    whole = timegm((year, month, day, hour, minute, second))
    return whole + float(found[7] or 0) - (-offset if found[8] == "-" else offset)


class FileObject(msgspec.Struct, frozen=True):
    """A file.  expires_at: ``None``: it is kept."""

    id: str
    created_at: str | None = None
    expires_at: str | None = None

    @property
    def expires_s(self) -> float | None:
        """When it will be gone."""
        return seconds_of(self.expires_at)


class Counts(msgspec.Struct, frozen=True):
    """What became of its requests; until it has ended all of them are ``processing``."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class BatchObject(msgspec.Struct, frozen=True):
    """A message batch.  results_url: where its answers are, once it has ended; it is read from where the batch is, always."""

    id: str
    processing_status: Literal["in_progress", "canceling", "ended"]
    created_at: str | None = None
    request_counts: Counts = Counts()
    results_url: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.processing_status == "ended"

    @property
    def status(self) -> str:
        """How it ended, in OpenAI's words: by what most that was not answered has in common."""
        counts = self.request_counts
        if not self.ended:
            return self.processing_status
        if counts.succeeded:
            return "completed"
        return max((counts.canceled, "cancelled"), (counts.expired, "expired"), (counts.errored, "failed"))[1]

    @property
    def answers(self) -> str:
        """Where its answers are; empty: nowhere yet."""
        return f"{BATCHES}/{self.id}/results" if self.ended and self.results_url else ""

    @property
    def made(self) -> tuple[str, ...]:
        """It makes no files."""
        return ()

    @property
    def output_file_id(self) -> None:
        """As above."""
        return

    @property
    def input_file_id(self) -> str:
        """Its requests came with it."""
        return ""

    @property
    def requests(self) -> int:
        """How many it has."""
        counts = self.request_counts
        return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired

    @property
    def created_s(self) -> float:
        """When it was made."""
        return seconds_of(self.created_at) or 0.0

    @property
    def usage(self) -> msgspec.Raw:
        """Nobody adds it up."""
        return msgspec.Raw(b"null")


class _Page(msgspec.Struct, frozen=True):
    data: list[BatchObject]
    has_more: bool = False


file_object = reader(FileObject, "file")
batch_object = reader(BatchObject, "batch")
_page = reader(_Page, "list")


def batch_page(body: bytes) -> tuple[Sequence[BatchObject], bool]:
    """One page of a list of batches, and whether there are more.  Raises: InvalidResponse."""
    page = _page(body)
    return page.data, page.has_more


class _Result(msgspec.Struct, frozen=True):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct, frozen=True):
    custom_id: str
    result: _Result


_line = msgspec.json.Decoder(_Line).decode


def answered(line: bytes) -> Answered | None:
    """What a line of a batch's results says; ``None``: it is no such line.  Only what succeeded is charged."""
    try:
        read = _line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if read.result.type != "succeeded":
        return Answered(None, b"", read.custom_id)
    return Answered(200, bytes(read.result.message), read.custom_id)


# --- requests ------------------------------------------------------------------------------------------------------------


class Asked(msgspec.Struct, frozen=True):
    """One request of a batch.  params: the message that it asks for, in JSON."""

    custom_id: str
    params: msgspec.Raw


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_text = msgspec.json.Decoder(str).decode


class Asking(msgspec.Struct, frozen=True):
    """What a client asks for with a batch.  rest: the fields beside ``requests``; others: those beside a request's two."""

    requests: tuple[Asked, ...]
    rest: dict[str, msgspec.Raw]
    others: tuple[dict[str, msgspec.Raw], ...]


def asking(body: bytes) -> Asking:
    """A client's request for a batch.  Of equal keys the last one counts, here and in what ``batch_of`` makes of it.

    Raises: ValueError, which says what is wrong.
    """
    try:
        fields = _fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"The body is not a JSON object: {error}.") from error
    said = fields.pop("requests", None)
    if said is None:
        raise ValueError("The field 'requests' is missing.")
    try:
        listed = _list(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("'requests' must be a list of objects.") from error
    requests = []
    for at, it in enumerate(listed):
        name, params = it.pop("custom_id", None), it.pop("params", None)
        try:
            custom_id = "" if name is None else _text(name)
        except (msgspec.DecodeError, UnicodeDecodeError):
            custom_id = ""
        if not custom_id:
            raise ValueError(f"'requests[{at}].custom_id' must be a non-empty string.")
        if params is None:
            raise ValueError(f"'requests[{at}].params' is missing.")
        requests.append(Asked(custom_id, params))
    return Asking(tuple(requests), fields, tuple(listed))


def batch_of(asked: Asking, params: Sequence[bytes]) -> bytes:
    """The body for a provider: as it was asked, with these messages."""
    rows = [
        {**others, "custom_id": it.custom_id, "params": msgspec.Raw(said)}
        for it, others, said in zip(asked.requests, asked.others, params, strict=True)
    ]
    return msgspec.json.encode({**asked.rest, "requests": rows})


# --- answers -------------------------------------------------------------------------------------------------------------


def at_the_gateway(body: bytes | str, base: str = "") -> bytes:
    """A batch as a client sees it that does not know who runs it: its answers are where it is itself.

    The provider's own address would have the client send it the gateway's key.
    base: the gateway's, as its client knows it; empty: a relative one, which SDKs put behind that which they were given.
    """
    try:
        fields = _fields(body)
        if "results_url" in fields and bytes(fields["results_url"]) != b"null":
            url = f"{base}/v1/{BATCHES}/{_text(fields['id'])}/results"
            fields["results_url"] = msgspec.Raw(msgspec.json.encode(url))
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError) as error:
        raise InvalidResponse("The upstream's answer is not the batch that the protocol promises.") from error
    return msgspec.json.encode(fields)


def listed(objects: Sequence[bytes | str], ids: Sequence[str], *, has_more: bool, next_page: str | None = None) -> bytes:
    """A page of a list.  objects: each in JSON."""
    return msgspec.json.encode(
        {
            "data": [msgspec.Raw(it) for it in objects],
            "has_more": has_more,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "next_page": next_page,
        }
    )


def _about(
    method: str,
    path: str,
    *,
    upstream: Upstream,
    request_id: str,
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> HttpRequest:
    return wire.sent(method, path, upstream, request_id, headers, body)


KEEPING: Final = Keeping(
    protocol="anthropic",
    files="files",
    batches=BATCHES,
    after="after_id",
    about=_about,
    file=file_object,
    batch=batch_object,
    page=batch_page,
    answered=answered,
)
