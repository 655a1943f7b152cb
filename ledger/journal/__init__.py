"""The journal of money: append-only entries, and one record beside them for every request.

``entries``     which columns there are, and the SQL that appends rows to them
``connection``  how the file is opened
``chain``       the hash that links an entry to the one before it
``books``       what the writer remembers of the file
``batch``       what one transaction appends
``writer``      the one thread that writes, many entries to a transaction
``recovery``    what a crash left open is settled when the ledger opens again
``reports``     usage by period, key, model and provider
``verify``      whether the journal is whole
"""
