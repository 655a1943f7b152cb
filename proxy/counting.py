"""How many tokens a request has, by our own estimate, where its model's provider cannot be asked to count them."""

from __future__ import annotations

import msgspec

from providers.registry import WIRES
from proxy.call import Call, Completed
from proxy.limits.estimate import input_of


def is_count(call: Call) -> bool:
    """Whether it asks for nothing but a number of tokens."""
    return WIRES[call.endpoint].kind == "count"


def estimated(call: Call) -> Completed:
    """The number, as its protocol has it; a header says that it is an estimate."""
    tokens = input_of(call)
    said = {"input_tokens": tokens} if call.endpoint == "messages/count_tokens" else {"totalTokens": tokens}
    headers = [(b"content-type", b"application/json"), (b"x-tollway-token-count", b"estimate")]
    return Completed(status=200, headers=headers, body=msgspec.json.encode(said))
