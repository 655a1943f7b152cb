"""Facts about models, and the journal of money.  Imports neither ``proxy`` nor ``providers``.

``records``   frozen structs, units in their names
``ports``     the interfaces that the proxy speaks to
``journal/``  reserve, settle, void: the group-commit writer, recovery, reports
``facts``     what sources say of models
``catalogue/`` metrics, names, which value counts, snapshots, indices
``live/``     what our own traffic says of each offer, in windows of time; how providers keep to what was agreed
``prices/``   the price book and the integer arithmetic of a cost
``data/``     a price list, compiled, and what compiles it
``adapters/`` SQLite, and the sources of prices
"""
