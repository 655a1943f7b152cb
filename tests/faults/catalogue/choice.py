"""Rows of group G: what is wrong with the choice of a model."""

from __future__ import annotations

import httpx

from tests.fakes import replies
from tests.faults.catalogue.case import Answer, Case
from tests.faults.catalogue.row import row


@row("G14", "nobody to choose from; all of them over what may be spent; nobody's quality is known")
async def nothing_to_choose_by(case: Case) -> None:
    case.script(replies.canned())
    own = [f"{case.faulty}/*", f"{case.good}/*"]

    unknown = [await case.ask("auto", route={"allow": own}) for _ in range(3)]
    nobody = await case.ask("auto", route={"allow": ["nobody/*"]})
    dear = await case.ask("auto", route={"allow": own, "max_cost_usd": 0})
    stood_in = await case.ask("auto", route={"allow": own, "max_cost_usd": 0, "fallback": case.solo})

    # By what little is known: the two cost the same and are as fast, so that names decide, and always the same way.
    assert [answer.status for answer in unknown] == [200] * 3
    assert {answer.headers["x-tollway-model"] for answer in unknown} == {case.faulty}
    route = (await _receipt(case, unknown[0]))["route"]
    assert (route["abstained"], route["chosen"]) == (True, case.solo)
    for refused in (nobody, dear):
        assert (refused.status, refused.error["code"]) == (422, "no_candidate")
        assert refused.headers["x-should-retry"] == "false"
    assert f"{case.solo}: it would cost $" in dear.error["message"]
    assert (stood_in.status, stood_in.headers["x-tollway-model"]) == (200, case.faulty)
    assert len(case.seen()) == 4  # nobody was asked on behalf of those who were refused


async def _receipt(case: Case, answer: Answer) -> dict[str, dict[str, object]]:
    found: httpx.Response = await case.bench.client.get(f"/receipts/{answer.headers['x-request-id']}")
    assert found.status_code == 200
    receipt: dict[str, dict[str, object]] = found.json()
    return receipt
