"""Stages wrap each other in the order in which they are given."""

from __future__ import annotations

from proxy.call import Call, Completed, Reply
from proxy.stage import Service, compose
from tests.proxy.samples import call


class Marking:
    """Writes its name down on the way in and on the way back; answers itself if it is told to."""

    def __init__(self, name: str, story: list[str], *, answers: bool = False) -> None:
        self._name = name
        self._story = story
        self._answers = answers

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        self._story.append(f"> {self._name}")
        reply = Completed(status=200, headers=[], body=self._name.encode()) if self._answers else await next(call)
        self._story.append(f"< {self._name}")
        return reply


async def terminal(call: Call, /) -> Reply:
    return Completed(status=200, headers=[], body=call.id.encode())


async def test_the_first_stage_is_the_outermost() -> None:
    story: list[str] = []
    service = compose([Marking(name, story) for name in ("a", "b", "c")], terminal)

    reply = await service(call())

    assert story == ["> a", "> b", "> c", "< c", "< b", "< a"]
    assert isinstance(reply, Completed)
    assert reply.body == b"req_1"


async def test_a_stage_that_answers_keeps_the_call_from_the_others() -> None:
    story: list[str] = []
    service = compose([Marking("a", story), Marking("b", story, answers=True), Marking("c", story)], terminal)

    reply = await service(call())

    assert story == ["> a", "> b", "< b", "< a"]
    assert isinstance(reply, Completed)
    assert reply.body == b"b"


async def test_without_stages_there_is_the_terminal() -> None:
    assert compose([], terminal) is terminal
