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
``live``      live metrics of the gateway's own traffic, as the view that decisions read
``keys``      what opens the gateway: secrets, found by their digest
``owners/``   whom keys belong to and what they may do: the directory of keys, users, teams and budgets
``commands/`` the commands that manage them, by ``/admin/v1``
"""
