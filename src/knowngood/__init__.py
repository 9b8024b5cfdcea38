"""Prompts that roll back to the last version known to be good.

`knowngood.Client` is all that an application needs. Importing this package costs next to nothing;
its names are loaded when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from knowngood.core.errors import KnowngoodError
    from knowngood.sdk.call import Call
    from knowngood.sdk.client import Client, Stats
    from knowngood.sdk.prompt import Prompt

    __version__: str

__all__ = ["Call", "Client", "KnowngoodError", "Prompt", "Stats", "__version__"]

_HOMES = {
    "Call": "knowngood.sdk.call",
    "Client": "knowngood.sdk.client",
    "KnowngoodError": "knowngood.core.errors",
    "Prompt": "knowngood.sdk.prompt",
    "Stats": "knowngood.sdk.client",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("knowngood")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'knowngood' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
