"""The reader of forms: any split gives the same parts, and what two parsers could read differently is refused."""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.multipart import (
    DIGEST_BYTES,
    FIELD_MAX_BYTES,
    PART_HEAD_MAX_BYTES,
    PARTS_MAX,
    MalformedForm,
    Part,
    Reader,
    boundary_of,
)

EDGE = b"----edge7"


def part(name: str, value: bytes, *, filename: str | None = None, head: str = "") -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    return f'--{EDGE.decode()}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{head}\r\n'.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + EDGE + b"--\r\n"


def read(body: bytes, *, step: int = 0, digests: bool = False) -> list[Part]:
    reader = Reader(EDGE, digests=digests)
    for at in range(0, len(body), step or len(body) or 1):
        reader.feed(body[at : at + (step or len(body))])
    reader.finish()
    return reader.parts


FORM = form(
    part("model", b"openai/whisper-1"),
    part("file", b"RIFF\r\n--\0\xff\r\n------edg", filename="a b.wav", head="Content-Type: audio/wav\r\n"),
    part("language", "dänisch".encode()),
)


# --- what it reads ----------------------------------------------------------------------------------------------------------


def test_a_form_is_fields_and_files() -> None:
    model, file, language = read(FORM)

    assert (model.name, model.text, model.is_file) == ("model", "openai/whisper-1", False)
    assert (file.filename, file.content_type, file.text) == ("a b.wav", "audio/wav", "")
    assert language.text == "dänisch"


def test_each_part_says_where_its_value_stands() -> None:
    model, file, _ = read(FORM)

    assert FORM[model.start : model.end] == b"openai/whisper-1"
    assert FORM[file.start : file.end] == b"RIFF\r\n--\0\xff\r\n------edg"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64])
def test_pieces_of_any_size_give_the_same_parts(step: int) -> None:
    assert read(FORM, step=step) == read(FORM)


def test_a_file_is_digested_while_it_passes() -> None:
    _, file, _ = read(FORM, step=5, digests=True)

    assert file.digest == blake2b(FORM[file.start : file.end], digest_size=DIGEST_BYTES).digest()


def test_a_file_is_not_held() -> None:
    reader = Reader(EDGE)
    reader.feed(part("file", b"", filename="big")[:-2])
    for _ in range(64):
        reader.feed(bytes(1024 * 1024))

    assert reader.in_file
    assert len(reader._buffer) < 100


def test_a_form_without_parts_is_one() -> None:
    assert read(b"--" + EDGE + b"--") == []


@pytest.mark.parametrize("name", ["filename*=UTF-8''na%C3%AFve.wav", 'filename="C:\\sounds\\a.wav"', "filename=plain.wav"])
def test_a_files_name_may_be_written_in_several_ways(name: str) -> None:
    body = f"--{EDGE.decode()}\r\nContent-Disposition: form-data; name=file; {name}\r\n\r\nx\r\n--{EDGE.decode()}--".encode()

    assert read(body)[0].is_file


# --- what it refuses --------------------------------------------------------------------------------------------------------


def head(text: str) -> bytes:
    return b"--" + EDGE + b"\r\n" + text.encode("utf-8", "surrogateescape") + b"\r\n\r\nx\r\n--" + EDGE + b"--\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"preamble\r\n" + FORM,
        b"\r\n" + FORM,
        FORM[:-4],
        FORM[: len(FORM) // 2],
        FORM + b"more",
        FORM + b"\r\n",
        FORM.replace(b"--" + EDGE + b"\r\n", b"--" + EDGE + b" \r\n", 1),
        FORM.replace(b"\r\n", b"\n"),
        part("file", b"line\r\n--" + EDGE + b"9\r\nmore", filename="a") + b"--" + EDGE + b"--",
        form(part("prompt", b"\xff\xfe")),
        form(part("prompt", bytes(FIELD_MAX_BYTES + 1))),
        form(*(part(f"f{n}", bytes(FIELD_MAX_BYTES // 2)) for n in range(3))),
        form(*(part("f", b"") for _ in range(PARTS_MAX + 1))),
        part("file", b"line\n--" + EDGE + b"\nmore", filename="a") + b"--" + EDGE + b"--",
        part("file", b"line --" + EDGE, filename="a") + b"--" + EDGE + b"--",
        part("file", b"--" + EDGE, filename="a") + b"--" + EDGE + b"--",
        part("file", b"", filename="a")[:-2] + b"--" + EDGE + b"--",
        head('Content-Disposition: form-data; name=" model"'),
        head('Content-Disposition: form-data; name="mo%64el"'),
        head('Content-Disposition: form-data; name="a"\x0bX: y'),
        head('Content-Disposition: form-data; name="a"; filename="\u2028X: y"'),
        head("X: " + "y" * PART_HEAD_MAX_BYTES),
        head("Content-Type: text/plain"),
        head("Content-Disposition: attachment; name=model"),
        head("Content-Disposition: form-data"),
        head('Content-Disposition: form-data; name=""'),
        head('Content-Disposition: form-data; name="model"; name="other"'),
        head('Content-Disposition: form-data; name="mo\\del"'),
        head('Content-Disposition: form-data; name="model'),
        head("Content-Disposition: form-data; name*=UTF-8''model; name=other"),
        head('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"'),
        head('Content-Disposition: form-data; name="file"; filename="a\\"; name=\\"model"'),
        head('Content-Disposition: form-data;\r\n name="model"'),
        head('Content-Disposition : form-data; name="model"'),
        head('Content-Disposition: form-data; name="mo\0del"'),
        head('Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=utf-16'),
        head('Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Transfer-Encoding: base64'),
        head('Content-Disposition: form-data; name="f\udcffle"'),
        form(part("_charset_", b"iso-8859-1")),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_what_could_be_read_in_two_ways_is_refused(body: bytes, step: int) -> None:
    with pytest.raises(MalformedForm):
        read(body, step=step)


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(MalformedForm) as caught:
        read(form(part("prompt", b"\xff")))

    assert caught.value.field == "prompt"


# --- the boundary -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="a b/c:d"', b"a b/c:d"),
        ("multipart/form-data;boundary=" + "x" * 70, b"x" * 70),
    ],
)
def test_the_boundary_is_in_the_content_type(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/mixed; boundary=abc",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "x" * 71,
        "multipart/form-data; boundary=a; boundary=b",
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="a\\b"',
        "multipart/form-data; boundary=a, b",
        "multipart/form-data; boundary=abc; charset=utf-16",
        "multipart/form-data; boundary=ä",
    ],
)
def test_a_content_type_without_one_plain_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedForm):
        boundary_of(content_type)


# --- anything at all --------------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\\%', exclude_categories=("C", "Z")), min_size=1, max_size=20)
VALUES = st.binary(max_size=300).filter(lambda value: b"--" + EDGE not in value)
PARTS = st.lists(
    st.one_of(
        st.tuples(NAMES, st.none(), st.text(st.characters(codec="utf-8"), max_size=50).map(str.encode)),
        st.tuples(NAMES, NAMES, VALUES),
    ),
    max_size=6,
)


@given(PARTS, st.lists(st.integers(1, 60), min_size=1))
def test_what_was_written_is_read_however_it_is_split(parts: list[tuple[str, str | None, bytes]], steps: list[int]) -> None:
    body = form(*(part(name, value, filename=filename) for name, filename, value in parts))
    reader = Reader(EDGE)
    at = turn = 0

    while at < len(body):
        step = steps[turn % len(steps)]
        reader.feed(body[at : at + step])
        at, turn = at + step, turn + 1
    reader.finish()

    assert [(it.name, it.filename, body[it.start : it.end]) for it in reader.parts] == parts


SPECIAL = [b"\r\n", b"--" + EDGE, b'"', b";", b"\\"]


@given(st.data())
def test_hostile_bytes_raise_nothing_but_the_one_error(data: st.DataObject) -> None:
    body = bytearray(FORM)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body)))
        until = data.draw(st.integers(at, min(at + 20, len(body))))
        body[at:until] = data.draw(st.one_of(st.binary(max_size=12), st.sampled_from(SPECIAL)))
    outcomes = []

    for step in (0, 1, data.draw(st.integers(2, 40))):
        try:
            outcomes.append([(it.name, it.start, it.end) for it in read(bytes(body), step=step)])
        except MalformedForm:
            outcomes.append([])

    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.text(max_size=80))
def test_any_content_type_is_a_boundary_or_the_one_error(content_type: str) -> None:
    with suppress(MalformedForm):
        assert boundary_of("multipart/form-data; boundary=" + content_type)
