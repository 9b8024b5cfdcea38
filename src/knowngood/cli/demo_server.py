"""The demo's server: `knowngood serve`, which ends with the demo even where that was killed.

`python -m knowngood.cli.demo_server serve …`; its standard input is a pipe from the demo.
"""

import os
import signal
import threading

from knowngood.cli import main


def wait_for_parent() -> None:
    """Return when the demo has closed its end of the pipe, or is gone."""
    # Not sys.stdin: a thread that holds its lock breaks the interpreter's end.
    while os.read(0, 4096):
        pass


def end_with_parent() -> None:
    """End in good order when the demo has ended."""
    wait_for_parent()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main()
