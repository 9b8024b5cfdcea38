"""How the tables came to be: one folder for each schema, run by `knowngood.store.migrate`.

What belongs here: numbered migrations that are never changed once released. A new one raises `head`
in `tables.py`; a test holds the outcome against the tables there, on both databases.
"""
