"""The command line: one file per verb, what an operator says at three in the morning.

A verb reads its options, asks a `Backend` (the server over HTTP or, with `--db`, a database file
whose server is down) and prints the answer. It decides nothing: what may be seen and done is the
server's business, and every sentence is `core.explain`'s. `knowngood --help` must stay quick, so a
verb imports what is heavy inside its function.
"""

import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command line of this process."""
    try:
        from knowngood.cli.app import app
    except ImportError as error:
        # The base install is the SDK alone and brings nothing along.
        if error.name not in ("typer", "rich", "yaml"):
            raise
        print(
            f"the command line needs {error.name}, which is not installed\n"
            "next: pip install 'knowngood[server]'",
            file=sys.stderr,
        )
        sys.exit(1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a ✓ still gets its status
    app(prog_name="knowngood")
