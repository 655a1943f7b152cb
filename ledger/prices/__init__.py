"""What things cost.  ``cost``: the integer arithmetic from a price row and tokens to nano-USD."""
