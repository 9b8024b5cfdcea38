"""Logs on standard error, from us and from the libraries alike: one JSON object a line."""

import logging
import sys
from typing import Any, TextIO

import structlog

QUIET = ("alembic", "httpx", "httpcore")  # they tell every step they take


def configure(stream: TextIO | None = None) -> None:
    """Send everything that logs in this process to `stream` (standard error).

    As JSON lines for machines; as plain lines where a person watches a terminal.
    """
    out = stream if stream is not None else sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_colour_message,
                *_rendered(out),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _rendered(out: TextIO) -> tuple[Any, ...]:
    if out.isatty():
        return (structlog.dev.ConsoleRenderer(),)
    return structlog.processors.format_exc_info, structlog.processors.JSONRenderer()


def _without_colour_message(_logger: Any, _name: str, event: Any) -> Any:
    """uvicorn says everything twice, the second time with colours."""
    event.pop("color_message", None)
    return event
