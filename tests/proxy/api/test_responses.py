"""What is asked about a response that a provider keeps; with a real provider's answers in tests/e2e/test_responses.py."""

from __future__ import annotations

import pytest
from fastapi import Request
from msgspec.structs import replace

from providers.errors import NoCredentials
from providers.provider import HttpRequest, Signer
from proxy.api.responses import Kept
from proxy.call import Principal
from proxy.deployments.held import Held, Holding
from proxy.deployments.models import ModelTable, Provider
from proxy.errors import NotFound, UpstreamAuth
from tests.proxy import samples
from tests.proxy.scripted import Answer, Clock, ScriptedTransport

REQUEST = Request(
    {
        "type": "http",
        "method": "GET",
        "query_string": b"stream=true&unknown=1",
        "headers": [],
        "state": {"headers": [], "when_gone": lambda _: None},
    }
)


class Nothing:
    """Nothing is made in the background."""

    async def told(self, principal: Principal, response_id: str, body: bytes, /) -> None:
        pass

    def heard(self, principal: Principal, response_id: str, /) -> None:
        pass

    async def may_delete(self, principal: Principal, response_id: str, /) -> None:
        pass


class Token:
    """Opens every door."""

    async def signed(self, request: HttpRequest) -> HttpRequest:
        return HttpRequest(request.url, {**request.headers, "authorization": "Bearer token"}, request.body, request.method)


class Nobody:
    """Opens none."""

    async def signed(self, request: HttpRequest) -> HttpRequest:
        raise NoCredentials(f"There are none for {request.method}.")


def kept(signer: Signer | None, *answers: Answer) -> tuple[Kept, ScriptedTransport]:
    upstream = replace(samples.upstream(), api_key=None, signer=signer)
    held = Held()
    held.keep("response", "resp_1", Holding("key_1", "acme", "default"))
    transport = ScriptedTransport(*answers)
    table = ModelTable([Provider(name="acme", accounts=((upstream, 1),))])
    return Kept(
        held,
        transport,
        limiter=samples.unlimited(),
        later=Nothing(),
        table=lambda: table,
        request_id=lambda: "req_1",
        clock_s=Clock().s,
    ), transport


async def test_an_account_without_a_key_signs() -> None:
    ask, transport = kept(Token(), Answer(b"{}"))

    await ask(samples.PRINCIPAL, "GET", "resp_1", "", REQUEST)

    (sent,) = transport.requests
    assert (sent.headers["authorization"], sent.url.rpartition("/")[2]) == ("Bearer token", "resp_1?stream=true")


async def test_an_account_that_nobody_opens_is_told() -> None:
    ask, transport = kept(Nobody())

    with pytest.raises(UpstreamAuth):
        await ask(samples.PRINCIPAL, "GET", "resp_1", "", REQUEST)

    assert transport.requests == []


async def test_what_was_deleted_is_gone() -> None:
    ask, transport = kept(None, Answer(b"{}"))

    await ask(samples.PRINCIPAL, "DELETE", "resp_1", "", REQUEST)
    with pytest.raises(NotFound):
        await ask(samples.PRINCIPAL, "GET", "resp_1", "", REQUEST)

    assert len(transport.requests) == 1
