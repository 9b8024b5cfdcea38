"""What runs inside an application: serving prompts from memory, recording calls, reporting them.

What belongs here: the client and its parts, with the standard library only, because it lives in
other people's processes. `get` and everything that records never raise, never wait and do no I/O;
one background thread does the talking. Modules: client (the public face), prompt and call (what
`get` and `call` return), recorder (what the hot path appends to), outbox (folds that into rows and
batches), snapshot (memory and disk), transport (HTTP), worker (the thread's timetable).
"""
