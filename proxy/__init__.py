"""The gateway.

A request's life: bytes -> ``api/edge`` -> the stages in the order of ``pipeline`` -> provider -> bytes.

``cli``       the ``tollway`` command
``app``       the composition root: configuration -> adapters -> pipeline -> ASGI app; owns every background task
``config``    every setting
``pipeline``  the order of the stages
``stage``, ``call``   Stage and Service; Call, Reply, Attempt
``errors``    the error tree, and the only place that makes an error's body
``stages/``   one stage, one file
``api/``      the HTTP edge: the raw hot path, and FastAPI for the rest
``attempts/`` trying deployments: one try, what becomes of it, who is tried next
``deployments/``  which there are: found or configured, under which names
``routing/``  which model answers ``auto``
``limits/``   what holds requests back
``caching/``  what the cache is made of
``metering/`` what requests may cost and have cost
``facts/``    what is known of models: sources, and live metrics of the gateway's own traffic
``owners/``   whom keys belong to and what they may do: the directory of keys, users, teams and budgets
``commands/`` the commands that manage them, by ``/admin/v1``
"""
