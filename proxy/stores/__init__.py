"""State that several processes could share: the ports, and what stands behind them in one process."""
