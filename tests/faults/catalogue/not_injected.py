"""Rows that are not injected here, and why: what does not exist, and what needs another setting and is shown elsewhere."""

NOT_INJECTED = {
    "A22": "HTTP/2 is not spoken to upstreams",
    "D18 after a crash": "needs an end of the process: tests/e2e/test_kill.py, a request that was answered before a kill",
    "G10": "needs the cache: tests/e2e/test_cache.py, five hundred who ask the same at once",
    "G11": "needs the cache: tests/e2e/test_cache.py, the first client of a shared call leaves",
    "G12": "needs the cache: tests/proxy/caching, every field of a request is in its key; test_cache.py, what is not kept",
    "G13": "needs the cache: tests/proxy/caching; it is in memory, so that what is too large is all that can be wrong with it",
    "G15": "needs sessions: tests/e2e/test_traffic.py, requests of a session move once when their deployment dies",
    "G16": "needs limits: tests/e2e/test_limits.py, what a failed request took comes back",
}
