"""The fault catalogue: what can go wrong between a client and a provider, each row injected into a running Tollway.

    make faults                                     every row, and a table of what came of it
    python -m tests.faults.catalogue --rows A1,B3   some of them

A row is a coroutine over a ``Case``: it scripts the upstream, asks, and asserts.  It is repeated, each time with providers of
its own, so that no repeat sees what another one did to a breaker.  After every repeat the journal must equal what the upstream
itself saw and billed; after every row the next healthy request must be answered, and no connection may be left behind.
"""
