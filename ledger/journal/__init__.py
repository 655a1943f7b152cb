"""The journal of money: append-only entries, and one record beside them for every request.

``entries``     which columns there are, and the SQL that appends rows to them
``connection``  how the file is opened
``chain``       the hash that links an entry to the one before it
``books``       what the writer remembers of the file
``batch``       what one transaction appends
``writer``      the one thread that writes, many entries to a transaction
``recovery``    what a crash left open is settled when the ledger opens again
``holds``       tries of which nobody ever heard are charged or waived
``reports``     usage by period, key, user, team, model, provider and tag
``subscriptions``   flat fees, shared by what was used under them
``reconcile``   ours beside what a provider reports, and the entries that mend it
``verify``      whether the journal is whole
"""
