"""Prices that others have collected, compiled into files of our own.

``genai_prices.json``  made by ``python -m ledger.data.compile``; ``genai_prices.LICENSE`` is its collectors' licence
"""
