"""How long a sound is: real files say it, hostile ones say nothing or something that is credible."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.sound import ENDS_BYTES, LONGEST_MS, most_ms, told_ms, usual_ms

SOUNDS = Path(__file__).parent / "data" / "sounds"


def told(data: bytes) -> int | None:
    return told_ms(data[:ENDS_BYTES], data[-ENDS_BYTES:], len(data))


def wav(seconds: float, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * int(rate * seconds)))
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.opus.ogg", "a.m4a", "a.webm"])
def test_a_file_says_how_long_it_is(name: str) -> None:
    found = told((SOUNDS / name).read_bytes())

    # Encoders fill the last frame up, and some put silence before the first.
    assert found is not None
    assert 1500 <= found <= 1650


@pytest.mark.parametrize("seconds", [0.5, 1.5, 600])
def test_a_wave_says_it_by_its_rate(seconds: float) -> None:
    assert told(wav(seconds)) == seconds * 1000


def test_a_wave_that_was_being_recorded_is_as_long_as_it_is() -> None:
    data = bytearray(wav(2))
    data[40:44] = b"\xff\xff\xff\xff"

    assert told(bytes(data)) == 2000


def test_a_wave_may_have_other_chunks() -> None:
    data = wav(2)

    assert told(data[:12] + b"LIST\x03\0\0\0abc\0" + data[12:]) == 2000


def test_an_mp3_without_a_count_is_as_long_as_its_bit_rate_says() -> None:
    data = (SOUNDS / "a.mp3").read_bytes()
    counting = data.index(b"\xff\xf3")

    found = told(data[data.index(b"\xff\xf3", counting + 4) :])

    assert found is not None
    assert 1400 <= found <= 1800


def test_vorbis_has_a_rate_of_its_own() -> None:
    head = b"OggS" + bytes(22) + b"\x01\x1e\x01vorbis" + struct.pack("<IBI", 0, 1, 8_000) + bytes(16)
    last = b"OggS\0\0" + struct.pack("<q", 20_000) + bytes(40)

    assert told(head + last) == 2500


@pytest.mark.parametrize(
    "data", [b"", b"text", b"RIFF", b"OggS", b"\xff\xfb", b"ID3", b"fLaC" + bytes(30), b"\0\0\0\0ftypM4A "]
)
def test_what_says_nothing_is_not_known(data: bytes) -> None:
    assert told(data) is None


def test_a_stream_of_aac_does_not_say_it() -> None:
    assert told((SOUNDS / "a.aac").read_bytes()) is None


@given(
    st.sampled_from([b"RIFF\0\0\0\0WAVEfmt ", b"fLaC", b"OggS", b"\0\0\0\0ftyp", b"\x1a\x45\xdf\xa3", b"ID3", b"\xff\xf3"]),
    st.binary(),
)
def test_whatever_a_file_says_is_credible_or_nothing(mark: bytes, rest: bytes) -> None:
    found = told(mark + rest)

    assert found is None or 0 < found <= LONGEST_MS


@given(st.sampled_from(sorted(SOUNDS.glob("a.*"))), st.data())
def test_so_is_what_a_damaged_one_says(path: Path, data: st.DataObject) -> None:
    sound = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        sound[data.draw(st.integers(0, min(len(sound), 400) - 1))] = data.draw(st.integers(0, 255))

    found = told(bytes(sound))

    assert found is None or 0 < found <= LONGEST_MS


def test_a_size_is_a_usual_length_and_a_bound() -> None:
    assert usual_ms(4_000_000) == 1_000_000
    assert most_ms(750) == 1000
    assert (usual_ms(0), most_ms(0)) == (0, 0)
