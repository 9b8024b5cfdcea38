"""Secrets by reference: a policy says where one is kept, and only the server looks there."""

import os
from collections.abc import Mapping
from pathlib import Path

from knowngood.server.settings import BadSettings

SECRET_BYTES_MAX = 64 * 1024


def look_up(reference: str, where: str, environ: Mapping[str, str] = os.environ) -> str:
    """The secret at `env:NAME` or `file:/path`, without white space around it.

    `where` is the place in the policy that names it. Raises BadSettings when there is none.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        found = environ.get(name, "").strip()
        missing = f"the variable {name} is not set"
    else:
        try:
            with Path(name).open("rb") as file:
                found = file.read(SECRET_BYTES_MAX).decode().strip()
            missing = f"{name} is empty"
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            found, missing = "", f"{name} cannot be read: {reason}"
    if not found:
        raise BadSettings(
            f"{where}: {missing}",
            next_step="set it before the server starts, or take the line out of the policy",
        )
    return found
