"""What somebody says of an answer, and what that comes to.  Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from ledger.records import DecisionRecord, Feedback, RequestRecord

PPM: Final = 1_000_000

ACCEPTED: Final = "live_user_accept_rate"
"""What users think."""
PASSED: Final = "live_pass_rate"
"""What judges found: a test, a harness, a person with the right answer at hand."""

LABELS: Final = {
    "accept": (ACCEPTED, PPM),
    "reject": (ACCEPTED, 0),
    "good": (ACCEPTED, PPM),
    "bad": (ACCEPTED, 0),
    "pass": (PASSED, PPM),
    "fail": (PASSED, 0),
    "correct": (PASSED, PPM),
    "incorrect": (PASSED, 0),
}
"""What a label counts for, and how much of it."""
THUMBS: Final = {"up": PPM, "down": 0}

COMPARED_PPM: Final = PPM // 2
"""That an answer is better than another says half as much of it as that it is good."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """A request that somebody says something of.  offer: who answered it; empty: none of ours was asked, or not for it."""

    request_id: str
    offer: str
    task: str
    policy: str


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What is said, by whom.  source: each says one thing of a request.  judged: it is no matter of taste.

    score_ppm: from 0 to 1,000,000.  label: as it was said, if it was.
    """

    source: str
    score_ppm: int
    judged: bool = False
    label: str = ""
    comment: str = ""


def about(record: RequestRecord, decision: DecisionRecord | None, /) -> About:
    """Whom an opinion of this request is about."""
    return About(
        request_id=record.request_id,
        offer=f"{record.provider}/{record.upstream_model}" if record.provider else "",
        task="" if decision is None else decision.task,
        policy="" if decision is None else decision.policy,
    )


def opined(it: About, said: Opinion, *, key_id: str, at_us: int) -> Feedback:
    """The row that is kept."""
    return _row(it, said, key_id=key_id, at_us=at_us)


def compared(better: About, worse: About, said: Opinion, *, key_id: str, at_us: int) -> tuple[Feedback, Feedback]:
    """The rows that are kept: each names the other.  The opinion's score does not matter."""
    won = _row(better, said, key_id=key_id, at_us=at_us, score_ppm=PPM, other_id=worse.request_id)
    lost = _row(worse, said, key_id=key_id, at_us=at_us, score_ppm=0, other_id=better.request_id)
    return won, lost


def is_same(kept: Feedback, given: Feedback, /) -> bool:
    """Whether what is there says what is said now."""
    return (kept.score_ppm, kept.metric, kept.weight_ppm) == (given.score_ppm, given.metric, given.weight_ppm)


def _row(it: About, said: Opinion, *, key_id: str, at_us: int, score_ppm: int | None = None, other_id: str = "") -> Feedback:
    return Feedback(
        at_us=at_us,
        request_id=it.request_id,
        source=said.source,
        key_id=key_id,
        offer=it.offer,
        task=it.task,
        policy=it.policy,
        metric=PASSED if said.judged else ACCEPTED,
        score_ppm=said.score_ppm if score_ppm is None else score_ppm,
        weight_ppm=COMPARED_PPM if other_id else PPM,
        label=said.label,
        comment=said.comment,
        other_id=other_id,
    )
