"""``model: auto``: which model is to answer, and why.  Pure: no I/O, no clock, no chance; all of them are arguments.

features    what a request needs and what kind of task it is      constraints  what its caller allows
field       who can be asked, and what is known of each            estimate     what each would be worth for this request
pareto      who is beaten on quality, cost and latency by nobody   policy       which of those is taken
router      decide(): all of these, in one pass                    receipt      the same, told
"""
