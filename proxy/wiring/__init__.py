"""From the configuration to the parts that do the work; the composition root puts them together."""
