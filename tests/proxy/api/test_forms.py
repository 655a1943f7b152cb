"""What the pipeline reads of a form: its head, and its fields as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from providers.sound import most_ms
from proxy.api import forms
from proxy.api.uploads import Upload, UploadLimits, Uploads
from proxy.disk.spool import SpoolLimits, Spools
from proxy.errors import InvalidRequest
from tests.providers.test_sound import wav
from tests.proxy.api.test_uploads import KIND, coming, form, part

MODEL = part("model", b"acme/m")


async def taken(tmp_path: Path, *parts: bytes, digests: bool = False, limits: UploadLimits | None = None) -> Upload:
    uploads = Uploads(Spools(tmp_path, SpoolLimits(count_max=1, total_max_bytes=0)), limits or UploadLimits())
    return await uploads.take(KIND, None, coming(form(*parts)), digests=digests)


async def test_a_head_has_the_fields_that_matter(tmp_path: Path) -> None:
    upload = await taken(tmp_path, MODEL, part("stream", b"True"), part("n", b"3"), part("image[]", b"x", "a"))

    head = await forms.head(upload, "images/edits")

    assert (head.model, head.stream, head.choices) == ("acme/m", True, 3)


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([], "model"),
        ([part("model", b" ")], "model"),
        ([part("model", b"a\x07")], "model"),
        ([MODEL, MODEL], "model"),
        ([part("model", b"m", "f")], "model"),
        ([MODEL, part("stream", b"yes")], "stream"),
        ([MODEL, part("stream", b"true"), part("stream", b"false")], "stream"),
        ([MODEL, part("n", b"0")], "n"),
        ([MODEL, part("n", b"1.5")], "n"),
        ([MODEL, part("n", "٣".encode())], "n"),
        ([MODEL, part("base_url", b"x")], "base_url"),
        ([MODEL, part("extra_headers", b"x")], "extra_headers"),
        ([MODEL, part("cache[ttl]", b"1")], "cache[ttl]"),
        ([MODEL, part("route", b"{}")], "route"),
    ],
)
async def test_a_field_that_is_not_what_it_should_be_is_named(tmp_path: Path, parts: list[bytes], param: str) -> None:
    upload = await taken(tmp_path, *parts)

    with pytest.raises(InvalidRequest) as caught:
        await forms.head(upload, "images/edits")

    assert caught.value.param == param


async def test_a_form_of_pictures_weighs_what_is_drawn(tmp_path: Path) -> None:
    fields = {"n": b"3", "size": b"1024x1536", "quality": b"low", "partial_images": b"2"}
    pictures = [part("image[]", b"x", "a"), part("image[]", b"x", "b"), part("mask", b"x", "c")]
    upload = await taken(tmp_path, MODEL, *(part(name, value) for name, value in fields.items()), *pictures)

    weight = (await forms.head(upload, "images/edits")).weight

    assert (weight.pieces.images, weight.pieces.image_size, weight.pieces.image_quality) == (3, "1024x1536", "low")
    assert (weight.early_images, weight.references) == (2, 3)


async def test_a_form_of_sound_weighs_how_long_it_is(tmp_path: Path) -> None:
    data = wav(30)
    upload = await taken(tmp_path, MODEL, part("file", data, "a.wav"))

    weight = (await forms.head(upload, "audio/transcriptions")).weight

    assert (weight.pieces.audio_ms, weight.audio_most_ms) == (30_000, most_ms(len(data)))


async def test_a_sound_that_says_nothing_is_as_long_as_such_sounds_are(tmp_path: Path) -> None:
    upload = await taken(tmp_path, MODEL, part("file", bytes(40_000), "a"))

    weight = (await forms.head(upload, "audio/transcriptions")).weight

    assert (weight.pieces.audio_ms, weight.audio_most_ms) == (10_000, most_ms(40_000))


async def test_a_sound_that_is_still_coming_is_as_long_as_its_form_may_be(tmp_path: Path) -> None:
    limits = UploadLimits(whole_max_bytes=1, body_max_bytes=4_000_000)
    upload = await taken(tmp_path, MODEL, part("file", bytes(200_000), "a"), limits=limits)

    weight = (await forms.head(upload, "audio/transcriptions")).weight

    assert weight.pieces.audio_ms == 1_000_000


async def described(tmp_path: Path, *parts: bytes, unique: str = "u", **options: Any) -> Any:
    return json.loads(forms.described(await taken(tmp_path, *parts, **options), unique=unique))


async def test_its_fields_are_a_json_object(tmp_path: Path) -> None:
    said = await described(tmp_path, MODEL, part("include[]", b"a"), part("include[]", b"b"), part("file", b"x", "f"))

    assert said == {"model": "acme/m", "include[]": ["a", "b"]}


async def test_forms_with_other_files_differ_where_they_are_told_apart(tmp_path: Path) -> None:
    one, same, other = [
        await described(tmp_path, MODEL, part("file", data, "f"), digests=True) for data in (b"one", b"one", b"two")
    ]

    assert one == same
    assert one != other


async def test_forms_that_pass_all_differ(tmp_path: Path) -> None:
    parts = [MODEL, part("file", bytes(200_000), "f")]
    limits = UploadLimits(whole_max_bytes=1)

    first, second = [await described(tmp_path, *parts, unique=unique, limits=limits) for unique in "ab"]

    assert first != second
