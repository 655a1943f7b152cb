"""The Head of a form, and its fields as the JSON body that the pipeline's stages read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ledger.records import Pieces
from providers import sound
from providers.provider import Endpoint
from providers.registry import WIRES
from proxy.api import gate, media
from proxy.api.uploads import Upload
from proxy.call import Head, Weight
from proxy.errors import InvalidRequest

FORMS: Final[frozenset[Endpoint]] = frozenset(
    ("images/edits", "images/variations", "audio/transcriptions", "audio/translations")
)
"""The endpoints whose requests are forms."""


async def head(upload: Upload, endpoint: Endpoint) -> Head:
    """Check the form's fields and peek at them, and at its sounds for how long they are.

    Raises: InvalidForm, for one of these twice; InvalidRequest, naming the field, if ``model``, ``stream``, ``n`` or
    ``partial_images`` is missing or not what it should be, or for one that would say where the request goes.
    """
    fields: dict[str, Any] = {}
    for name in ("model", "stream", "n", "partial_images", "size", "quality"):
        if (text := upload.one(name)) is not None:
            fields[name] = _READ[name](text) if name in _READ else text
    gate.check_places({part.name: None for part in upload.fields})
    for part in upload.fields:
        if part.name.partition("[")[0] in gate.OUR_FIELDS:
            raise InvalidRequest(f"'{part.name[:64]}' is not taken from a form; there are headers for it.", param=part.name)
    draws = WIRES[endpoint].kind == "image"
    return Head(
        model=gate.model_of(fields),
        stream=gate.stream_of(fields),
        choices=gate.whole(fields, "n", least=1) or 1 if draws else 1,
        weight=replace(media.drawn(fields), references=max(len(upload.files), 1)) if draws else await _heard(upload),
    )


async def _heard(upload: Upload) -> Weight:
    """Of a form whose sounds are listened to."""
    usual_ms = most_ms = 0
    for part in upload.files or upload.fields:
        size = part.size_bytes if part.end >= 0 else upload.file_bytes
        told_ms = sound.told_ms(*await upload.ends(part, sound.ENDS_BYTES), size)
        usual_ms += told_ms or sound.usual_ms(size)
        most_ms += max(told_ms or 0, sound.most_ms(size))
    return Weight(references=1, audio=True, pieces=Pieces(audio_ms=usual_ms), audio_most_ms=most_ms)


def described(upload: Upload, *, unique: str) -> bytes:
    """The form as a JSON object: of each field its text, or its texts where it stands there more than once; of each file what
    it is, if the bytes of all of them were digested.

    unique: stands in for what the files of a form hold that has not come yet: it is like no other.
    """
    said: dict[str, Any] = {}
    for part in upload.fields:
        said[part.name] = [*_list(said[part.name]), part.text] if part.name in said else part.text
    if not upload.is_whole:
        said[""] = unique
    elif any(part.digest for part in upload.files):
        said[""] = [(it.name, it.filename, it.content_type, it.size_bytes, it.digest) for it in upload.files]
    return msgspec.json.encode(said)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _flag(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)


def _whole(text: str) -> Any:
    """A whole number, if it is one; the gate refuses whatever else it is."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else text


_READ: Final[Mapping[str, Callable[[str], Any]]] = {"stream": _flag, "n": _whole, "partial_images": _whole}
"""How the texts of fields are read that are no texts elsewhere."""
