"""Which harness wrote a file."""

import pytest

from ledger.errors import SourceUnreadable
from ledger.refresh.forms import form_of


@pytest.mark.parametrize(
    ("payload", "form"),
    [
        (b'{"schema": "tollway.benchmarks/1"}', "helios"),
        (b'{"schema_version": "1.0.0", "subject": {}}', "helios"),
        (b'{"results": {}, "configs": {}}', "lm-eval"),
        (b'{"eval": {}, "status": "success"}', "inspect"),
        (b"PK\x03\x04", "inspect"),
    ],
)
def test_a_file_is_known_by_what_only_it_has(payload: bytes, form: str) -> None:
    assert form_of(payload) == form


@pytest.mark.parametrize("payload", [b"{}", b"[]", b"<html>", b"", b'{"results": {}}'])
def test_another_file_is_refused(payload: bytes) -> None:
    with pytest.raises(SourceUnreadable):
        form_of(payload)
