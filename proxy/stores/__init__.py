"""State that replicas may share: the ports (``store``), and what stands behind them."""
