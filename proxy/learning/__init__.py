"""What is learned from answers.

``answers``, ``checks`` and ``judge`` look at them; ``opinions`` reads what people say of them; ``offpolicy``,
``calibration`` and ``replay`` tell what both say of the policies.
"""
