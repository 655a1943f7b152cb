"""Rows that are not injected here, and why."""

NOT_INJECTED = {
    "A22": "HTTP/2 is not spoken to upstreams",
    "B12": "an answer longer than was allowed is settled as the provider says; nothing is flagged",
    "D9": "whoever closes its sending half has left: until something is written to it, a closed connection looks the same, and "
    "that an abandoned request is ended at once (D5 to D7) is worth more",
    "D18": "idempotency keys are not kept",
}
