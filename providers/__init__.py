"""How to speak to upstreams.  Imports neither ``proxy`` nor ``ledger``.

``provider``   an upstream, and the request that is sent to it
``openai/``    the OpenAI protocol: request, response, stream, and its vendors as rows; pure functions
``usage``      token counts as mutually exclusive buckets, from whatever a vendor reports
``sse``        framing of server-sent events, pure and incremental
``transport``  the only network I/O on the data path; ``http1`` frames it
``errors``     what can go wrong upstream
``local``      the small model that runs on this machine, a child process
"""
