"""How many tokens a request has, by our own estimate, where its model's provider cannot be asked to count them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from providers.protocol import CountCodec
from providers.registry import WIRES
from proxy.call import Call, Completed, Deployment, Reply
from proxy.errors import InvalidRequest, UpstreamError, UpstreamRateLimited, UpstreamRefused
from proxy.limits.estimate import input_of


def is_count(call: Call) -> bool:
    """Whether it asks for nothing but a number of tokens."""
    return WIRES[call.endpoint].kind == "count"


def is_guest(call: Call, able: Sequence[Deployment]) -> bool:
    """Whether it would be counted in another protocol's words alone."""
    return is_count(call) and not any(call.endpoint in it.upstream.vendor.endpoints for it in able)


async def or_estimated(call: Call, counting: Awaitable[Reply]) -> Reply:
    """What is counted; our estimate where that cannot be asked in the provider's words, or the model cannot be counted by."""
    try:
        return await counting
    except (InvalidRequest, UpstreamRefused, UpstreamError, UpstreamRateLimited):
        return estimated(call)


def estimated(call: Call) -> Completed:
    """The number, as its protocol has it; a header says that it is an estimate."""
    codec = WIRES[call.endpoint].codec
    assert isinstance(codec, CountCodec)  # noqa: S101  # whoever asks for a number has one
    headers = [(b"content-type", b"application/json"), (b"x-tollway-token-count", b"estimate")]
    return Completed(status=200, headers=headers, body=codec.encode_answer(input_of(call)))
