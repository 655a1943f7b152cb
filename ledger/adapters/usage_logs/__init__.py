"""Coding agents' own logs: a pure parser for each format, and what walks their folders and reads on.

``reading.py`` has what parsers share, ``scan.py`` the files.  A parser takes a file's whole lines in order and yields what
was used; what it does not understand it counts by reason, and never guesses.
"""
