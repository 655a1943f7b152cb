"""What others have collected, compiled into files of our own.

``genai_prices.json``      made by ``python -m ledger.data.compile``; ``genai_prices.LICENSE`` is its collectors' licence
``seed.json``              made by ``python -m ledger.data.compile_seed``; ``seed.LICENSE`` likewise
``benchmarks.schema.json`` the envelope in which harnesses send what they measured
"""

from pathlib import Path

SEED_FILE = Path(__file__).parent / "seed.json"
