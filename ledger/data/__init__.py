"""Prices that others have collected, compiled into files of our own: ``genai_prices.json``, made by ``compile``."""
