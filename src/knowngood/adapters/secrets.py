"""Secrets by reference: a policy says where one is kept, and only a server looks there."""

import os
from collections.abc import Mapping
from pathlib import Path

from knowngood.core.errors import BadPolicy

SECRET_CHARS_MAX = 8_192  # a key has some dozens; what is longer is some other file


class Secret:
    """A text that shows itself nowhere by accident; `reveal` says it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep `text`."""
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def resolve(reference: str, name: str, environ: Mapping[str, str] = os.environ) -> Secret:
    """The secret that `env:NAME` or `file:/path` refers to; `name` is what errors call it.

    Raises BadPolicy when there is nothing, or nothing that could travel in a header.
    """
    kind, _, place = reference.partition(":")
    if kind == "env":
        text = environ.get(place, "")
        missing, next_step = f"the environment variable {place} is not set", f"export {place}=..."
    else:
        text, missing = _content(place, name)
        next_step = f"write the secret into {place}, readable for the server alone"
    text = text.strip()
    if not text:
        raise BadPolicy(f"{name}: {missing}", next_step=next_step)
    if len(text) > SECRET_CHARS_MAX or not text.isascii() or not text.isprintable():
        # Without the text: it may be somebody's password.
        raise BadPolicy(
            f"{name}: what {reference} holds is no secret of one line", next_step=next_step
        )
    return Secret(text)


def _content(place: str, name: str) -> tuple[str, str]:
    try:
        with Path(place).open(encoding="utf-8") as file:
            return file.read(SECRET_CHARS_MAX + 2), f"the file {place} is empty"
    except OSError as error:
        raise BadPolicy(
            f"{name}: cannot read {place}: {error.strerror}",
            next_step="name a file that the server may read",
        ) from error
    except UnicodeDecodeError as error:
        raise BadPolicy(f"{name}: {place} is not a text file") from error
