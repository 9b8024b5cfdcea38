"""The whole product's judgement, pure and readable in an afternoon.

What belongs here: nouns (model, rules), arithmetic on counts (window), choices (routing, detect,
decide and its steps), and the words that explain them (explain). Standard library data tools only;
no clock, no random numbers, no I/O. The time is always the last argument, `now_ms`.
"""
