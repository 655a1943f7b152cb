"""Fuzzers: what reads bytes of strangers is given bytes that nobody thought of.

``targets.py`` says what must hold of any bytes; ``python -m tests.fuzz TARGET`` looks for bytes of which it does not, and
``test_corpus.py`` gives the targets what was found, and what led there, in every run of the tests.
"""
