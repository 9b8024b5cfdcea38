"""Where everything is kept, and the only place with SQL.

What belongs here: implementations of the ports of `knowngood.ports.Store`. `memory` is the
reference and says what the ports mean; `control`, `observations` and `checkpoints` say it in
SQLAlchemy Core; `sqlite` and `postgres` open a database and hold every difference between the two;
`migrations` builds the tables.
What is decided (does this change fit? what follows from it?) belongs to `knowngood.core`.
"""
