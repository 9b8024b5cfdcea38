"""The server: what may be seen and done of prompts, over HTTP and for the command line.

What belongs here: `read`, `judged`, `doctor` and `act`, which stand on a `desk` and are shared by
the API and the command line's break-glass mode; `api` (the routes, thin), `guard` (who may knock),
`heart` (the engine's thread), and `app`, the composition root, which alone names concrete stores.
What is decided belongs to `knowngood.core`; what is written down belongs to `knowngood.store`.
"""
