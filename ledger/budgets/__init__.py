"""What may be spent: budgets by period, and what of them is spent and reserved.  Pure; no clock is read here."""
