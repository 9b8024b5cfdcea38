"""Bars on stderr for what takes a while, where somebody can see them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Told = Callable[[int, int], None]  # what is done, of how much in all


@contextmanager
def bars() -> Iterator[Callable[[str], Told | None]]:
    """Gives a function that begins a bar by its title; where nobody looks, it begins none."""
    if not sys.stderr.isatty():
        yield lambda title: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:

        def begin(title: str) -> Told:
            task = shown.add_task(title, total=None)
            return lambda done, total: shown.update(task, completed=done, total=total)

        yield begin
