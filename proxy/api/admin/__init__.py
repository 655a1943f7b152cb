"""``/admin/v1``: keys, users, teams, budgets, and who changed them.  Every route takes an admin's key.

``door``     who may send a body here, and how large
``shapes``   what the bodies have in common
``keys``, ``users``, ``teams``, ``budgets``, ``audit``   the routes
"""
