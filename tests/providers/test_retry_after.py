"""When an upstream wants to be asked again, in every way that it may say so."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.retry_after import retry_after_s

NOW_S = datetime(2026, 11, 22, 7, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": " 5 "}, 5.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "999999999999999"}, 999999999999999.0),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "."}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 07:00:30 GMT"}, 30.0),
        ({"retry-after": "Sunday, 22-Nov-26 07:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 06:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 31 Feb 2026 06:00:00 GMT"}, None),
        ({"retry-after": "Sun, 22 Nov 99999 07:00:30 GMT"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "12.5"}, 0.0125),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "nonsense"}, None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers, NOW_S) == expected


@settings(deadline=None, max_examples=250)
@given(
    st.one_of(
        st.text(max_size=30),
        st.datetimes(timezones=st.just(UTC)).map(lambda moment: format_datetime(moment, usegmt=True)),
        st.from_regex(
            r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{2,5} [0-9]{1,2}:[0-9]{2}(:[0-9]{2})? ?(GMT|[+-][0-9]{4})?",
            fullmatch=True,
        ),
    )
)
def test_when_to_come_back_is_never_negative_and_never_raises(text: str) -> None:
    wait_s = retry_after_s({"retry-after": text, "retry-after-ms": text}, NOW_S)

    assert wait_s is None or 0 <= wait_s < 1e15
