"""What is known of models, put in order.  Pure: no I/O, no clock.

``metrics``   every metric there is: unit, direction, bounds, half-life, sources
``names``     how sources and hosts write the name of a model
``identity``  which model, variant and offer a source means
``merge``     which of several sources' values counts
``snapshot``  all of it at one moment, immutable
``indices``   quality, speed and cost of a variant; rankings
``formulas``  the same by the formulas of other systems
"""
