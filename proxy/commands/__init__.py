"""The commands that manage keys, users, teams and budgets: ``tollway keys``, ``users``, ``teams``, ``budgets``, ``audit``.

``console``  what commands have in common: where their settings are, what they print
``server``   how they reach ``/admin/v1``, whether a server runs or not
"""
