"""``POST /v1/feedback``: what somebody thinks of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.ports import LearningPort
from ledger.records import Feedback
from proxy.call import Principal
from proxy.errors import FeedbackGiven, InvalidRequest, LedgerUnavailable, NotFound
from proxy.learning.opinions import LABELS, THUMBS, About, Opinion, about, compared, is_same, opined

Told = Callable[[Feedback], None]
"""Told of each row once it is kept."""

RequestId = Annotated[str, Field(min_length=1, max_length=128, description="The `x-request-id` of an answer.")]


class Comparison(BaseModel):
    """Of two answers, which is the better one."""

    model_config = ConfigDict(extra="forbid")

    better: RequestId
    worse: RequestId


class FeedbackRequest(BaseModel):
    """One of `score`, `thumbs`, `label` and `comparison`."""

    model_config = ConfigDict(extra="forbid")

    request_id: RequestId | None = None
    score: Annotated[
        float | None, Field(ge=0, le=1, strict=True, allow_inf_nan=False, description="From 0, useless, to 1, perfect.")
    ] = None
    thumbs: Literal["up", "down"] | None = None
    label: Annotated[
        Literal["accept", "reject", "good", "bad", "pass", "fail", "correct", "incorrect"] | None,
        Field(description="`pass`, `fail`, `correct` and `incorrect` are judged; the others are a user's."),
    ] = None
    comparison: Comparison | None = None
    judged: Annotated[
        bool, Field(strict=True, description="A test, a harness or a judge says so, and it is no matter of taste.")
    ] = False
    source: Annotated[
        str, Field(min_length=1, max_length=64, description="Who says so; each source says one thing of a request.")
    ] = "user"
    comment: Annotated[str, Field(max_length=2_000, description="In words; kept, and read by people alone.")] = ""


class FeedbackReply(BaseModel):
    """What stands now."""

    object: Literal["feedback"] = "feedback"
    request_id: str
    source: str
    score: float
    metric: str = Field(description="What it counts for.")
    model: str = Field(description="Who answered; empty: nobody was asked, and it counts for nobody.")
    task: str = Field(description="The kind of task; empty: nobody decided who answers, and so nobody knows.")
    recorded: bool = Field(description="False: that source had said the same before.")


def router(ledger: LearningPort, caller: Callable[..., Principal], now_us: Callable[[], int], told: Told) -> APIRouter:
    """The route.  caller: a dependency that lets anybody with a key through."""
    routes = APIRouter(prefix="/v1", tags=["routing"])

    @routes.post("/feedback", operation_id="give_feedback")
    async def feedback(said: FeedbackRequest, principal: Principal = Depends(caller)) -> FeedbackReply:
        """Say what an answer was worth: the next decisions know it.  The key that asked may, and an admin's key."""
        opinion = _opinion(said)
        try:
            rows = await _rows(ledger, said, opinion, principal, now_us())
            standing = await ledger.give(rows)
        except JournalFailed as error:
            raise LedgerUnavailable("Feedback cannot be kept just now.", retry_after_s=RETRY_AFTER_S) from error
        recorded = list(standing) == list(rows)
        if recorded:
            for row in rows:
                told(row)
        elif len(standing) < len(rows) or not all(map(is_same, standing, rows)):
            raise FeedbackGiven(
                f"{said.source!r} has said something else of this before, and what was said stays.", param="source"
            )
        first = standing[0]
        return FeedbackReply(
            request_id=first.request_id,
            source=first.source,
            score=first.score_ppm / 1e6,
            metric=first.metric,
            model=first.offer,
            task=first.task,
            recorded=recorded,
        )

    return routes


RETRY_AFTER_S = 5


def _opinion(said: FeedbackRequest) -> Opinion:
    """Raises: InvalidRequest, unless exactly one thing is said."""
    given = [name for name in ("score", "thumbs", "label", "comparison") if getattr(said, name) is not None]
    if len(given) != 1:
        raise InvalidRequest(
            "Feedback is one of 'score', 'thumbs', 'label' and 'comparison'"
            + (f", not {' and '.join(given)}." if given else "."),
            param=given[1] if given else "score",
        )
    if (said.comparison is None) == (said.request_id is None):
        raise InvalidRequest(
            "'request_id' is missing." if said.comparison is None else "A comparison has no 'request_id' besides its two.",
            param="request_id",
        )
    judged = said.judged
    if said.label is not None:
        metric, score_ppm = LABELS[said.label]
        judged = judged or metric == "live_pass_rate"
    elif said.thumbs is not None:
        score_ppm = THUMBS[said.thumbs]
    else:
        score_ppm = round((said.score or 0.0) * 1e6)
    return Opinion(
        source=said.source, score_ppm=score_ppm, judged=judged, label=said.label or said.thumbs or "", comment=said.comment
    )


async def _rows(
    ledger: LearningPort, said: FeedbackRequest, opinion: Opinion, principal: Principal, at_us: int
) -> Sequence[Feedback]:
    if said.comparison is None:
        it = await _about(ledger, said.request_id or "", principal, "request_id")
        return (opined(it, opinion, key_id=principal.key_id, at_us=at_us),)
    if said.comparison.better == said.comparison.worse:
        raise InvalidRequest("An answer is neither better nor worse than itself.", param="comparison")
    better = await _about(ledger, said.comparison.better, principal, "comparison.better")
    worse = await _about(ledger, said.comparison.worse, principal, "comparison.worse")
    return compared(better, worse, opinion, key_id=principal.key_id, at_us=at_us)


async def _about(ledger: LearningPort, request_id: str, principal: Principal, param: str) -> About:
    """Raises: NotFound, also where it is another key's: who may not see a request is not told that there is one."""
    record = await ledger.request(request_id)
    if record is None or not (principal.admin or record.key_id == principal.key_id):
        raise NotFound(f"There is no request {request_id[:128]!r}.", param=param)
    return about(record, await ledger.decision(request_id))
