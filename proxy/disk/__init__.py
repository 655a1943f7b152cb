"""What one installation keeps on disk besides its ledger."""
