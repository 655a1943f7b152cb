"""Rows that are not injected here, and why."""

NOT_INJECTED = {
    "A6": "a connection that hangs needs a full listen backlog or a dropped link; `tests/providers/test_transport.py` "
    "times a connection out instead",
    "A7": "certificates are tried in `tests/providers/test_transport.py`: the providers of the bench speak plain HTTP",
    "A8": "the resolver is the machine's own; `tests/providers/test_transport.py` has a name that does not exist",
    "A22": "HTTP/2 is not spoken to upstreams",
    "B12": "an answer longer than was allowed is settled as the provider says; nothing is flagged",
    "B15": "a body over the limit is `tests/providers/test_transport.py`; half a gigabyte would only be slower",
    "D4": "the idle timeout is uvicorn's; `tests/e2e/test_edge.py` has it",
    "D9": "whoever closes its sending half has left: until something is written to it, a closed connection looks the same, and "
    "that an abandoned request is ended at once (D5 to D7) is worth more",
    "D18": "idempotency keys are not kept",
}
