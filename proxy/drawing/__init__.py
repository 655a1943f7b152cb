"""Charts: in a terminal, and in files by a process of its own."""
