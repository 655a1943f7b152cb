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


def test_a_date_is_read_by_the_upstreams_own_clock() -> None:
    skewed = {"date": "Sun, 22 Nov 2026 09:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 09:00:02 GMT"}

    assert retry_after_s(skewed, NOW_S) == 2.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, 360.0),
        ({"x-ratelimit-reset-tokens": "20ms", "x-ratelimit-remaining-tokens": "0"}, 0.02),
        ({"x-ratelimit-reset-tokens": "7.66s"}, 7.66),
        ({"x-ratelimit-reset-requests": "1d2h", "x-ratelimit-remaining-requests": "0"}, 93_600.0),
        (
            {
                "x-ratelimit-reset-requests": "8s",
                "x-ratelimit-remaining-requests": "17",
                "x-ratelimit-reset-tokens": "3s",
                "x-ratelimit-remaining-tokens": "0",
            },
            3.0,
        ),
        ({"x-ratelimit-reset-requests": "8s", "x-ratelimit-reset-tokens": "3s"}, 3.0),
        ({"x-ratelimit-reset": f"{NOW_S + 4:.0f}"}, 4.0),
        ({"x-ratelimit-reset": f"{(NOW_S + 4) * 1000:.0f}"}, 4.0),
        ({"x-ratelimit-reset": "30"}, 30.0),
        ({"anthropic-ratelimit-requests-reset": "2026-11-22T07:00:05Z"}, 5.0),
        (
            {
                "anthropic-ratelimit-input-tokens-reset": "2026-11-22T07:00:09Z",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-22T07:00:01Z",
                "anthropic-ratelimit-requests-remaining": "49",
            },
            9.0,
        ),
        ({"anthropic-ratelimit-requests-reset": "2026-11-22T06:00:00Z"}, 0.0),
        ({"anthropic-ratelimit-requests-reset": "2026-11-22"}, None),
        ({"x-ratelimit-reset-requests": "soon"}, None),
        ({"x-ratelimit-reset-requests": ""}, None),
        ({"x-ratelimit-limit-requests": "60"}, None),
        ({"x-ratelimit-reset-requests": "8s", "retry-after": "1"}, 1.0),
    ],
)
def test_a_refusal_for_limits_tells_when_they_reset(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers, NOW_S, limited=True) == pytest.approx(expected)


def test_limits_that_reset_say_nothing_of_an_answer_that_was_not_refused_for_them() -> None:
    assert retry_after_s({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, NOW_S) is None


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
    names = ("retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "anthropic-ratelimit-requests-reset")

    wait_s = retry_after_s(dict.fromkeys(names, text), NOW_S, limited=True)

    assert wait_s is None or 0 <= wait_s < 1e15
