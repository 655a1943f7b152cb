"""Batches that providers run: what they reserve, when they have ended, what they cost.

``opened``: those whose cost is not known yet, remembered over a restart.   ``weighing``: the worst case of an input file.
``rates``: what they are charged by.   ``tally``: the sum of an output file.   ``booking``: the entries that end one.
``watcher``: looks after all of them.   ``desk``: where they are asked for and about.
"""
