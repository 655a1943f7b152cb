"""One stage, one file.  The order is in ``proxy/pipeline.py``."""
