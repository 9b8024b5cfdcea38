"""Pages as lines in the server's own log, for everybody who has a log collector and no pager."""

from typing import Any

import structlog

from knowngood.ports import Delivered, Page, Rejected, Retry


class LogNotifier:
    """Writes each page as one structured line."""

    def __init__(self, logger: Any = None) -> None:
        """`logger` takes structlog's calls; by default the process's own."""
        self._logger = logger if logger is not None else structlog.get_logger("knowngood.page")

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        self._logger.warning(
            page.subject,
            page=page.key,
            purpose=page.purpose.value,
            thread=page.thread,
            audience=page.audience,
            severity=page.severity.value,
            environment=page.environment,
            prompt=page.prompt,
            body=page.body,
        )
        return Delivered("written to the log")
