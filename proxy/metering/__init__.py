"""What requests may cost and have cost: what is held of budgets, what is paid by the piece, and by which prices."""
