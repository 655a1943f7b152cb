"""The HTTP edge: raw ASGI where speed matters, FastAPI for the rest."""
