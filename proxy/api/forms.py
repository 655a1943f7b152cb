"""The Head of a form, and its fields as the JSON body that the pipeline's stages read."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from providers.provider import Endpoint
from providers.registry import WIRES
from proxy.api import gate
from proxy.api.uploads import Upload
from proxy.call import Head, Weight
from proxy.errors import InvalidRequest

FORMS: Final[frozenset[Endpoint]] = frozenset(
    ("images/edits", "images/variations", "audio/transcriptions", "audio/translations")
)
"""The endpoints whose requests are forms."""
_SAID: Final = {"true": True, "false": False}


def head(upload: Upload, endpoint: Endpoint) -> Head:
    """Check the form's fields and peek at them.

    Raises: InvalidForm, for one of these twice; InvalidRequest, naming the field, if ``model``, ``stream`` or ``n`` is missing
    or not what it should be, or for one that would say where the request goes.
    """
    fields: dict[str, Any] = {}
    for name in ("model", "stream", "n"):
        if (text := upload.one(name)) is not None:
            fields[name] = text
    gate.check_places({part.name: None for part in upload.fields})
    for part in upload.fields:
        if part.name.partition("[")[0] in gate.OUR_FIELDS:
            raise InvalidRequest(f"'{part.name[:64]}' is not taken from a form; there are headers for it.", param=part.name)
    if "stream" in fields:
        fields["stream"] = _SAID.get(fields["stream"].lower(), fields["stream"])
    if "n" in fields:
        fields["n"] = _whole(fields["n"])
    return Head(
        model=gate.model_of(fields),
        stream=gate.stream_of(fields),
        choices=gate.whole(fields, "n", least=1) or 1,
        weight=Weight(
            references=max(len(upload.files), 1),
            audio=WIRES[endpoint].kind == "transcript",
        ),
    )


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


def _whole(text: str) -> Any:
    """A whole number, if it is one; the gate refuses whatever else it is."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else text
