"""``python -m proxy`` is ``tollway``."""

from proxy.cli import main

main()
