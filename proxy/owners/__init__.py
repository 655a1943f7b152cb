"""Whom keys belong to and what they may do: the directory of keys, users, teams and budgets.

``roster``     everything there is of them, in memory, and what each key may do because of it
``directory``  the same with changes: checked, durable, on the record
``rules``      what may be set, and to what
``declared``   what the configuration declares of them
``told``       what may be told of them: everything but what opens the gateway
"""
