"""The long tail of services, through Apprise.

Apprise says only whether it worked: no status, no Retry-After, nothing to go on with a thread. Its
requests do not go through our egress client, so only services with one fixed host of their own are
taken; redirects are not followed.
"""

from typing import Any
from urllib.parse import urlsplit

from knowngood.adapters.secrets import Secret
from knowngood.adapters.wording import text, title
from knowngood.core.asking import Purpose
from knowngood.core.errors import BadPolicy
from knowngood.core.model import Severity
from knowngood.ports import Delivered, Page, Rejected, Retry

# Services at an address of their own. What posts to any URL, runs a program or writes to this
# machine is not among them: `json`, `form`, `xml`, `dbus`, `syslog` and the like.
SCHEMAS = frozenset(
    {
        "betterstack",
        "discord",
        "firehydrant",
        "gchat",
        "ilert",
        "incidentio",
        "line",
        "opsgenie",
        "pagertree",
        "pbul",
        "pover",
        "signl4",
        "spike",
        "splunk",
        "squadcast",
        "telnyx",
        "tgram",
        "twilio",
        "victorops",
        "vonage",
        "webex",
        "workflows",
        "wxteams",
    }
)
TIMEOUTS = "cto=5&rto=10"  # seconds to connect and to read


class Apprise:
    """One address in Apprise's own notation."""

    def __init__(self, url: Secret, schemas: frozenset[str] = SCHEMAS) -> None:
        """Raises BadPolicy when Apprise is not installed, or cannot or may not use the address."""
        try:
            import apprise
        except ModuleNotFoundError as error:
            raise BadPolicy(
                "Apprise is not installed", next_step="pip install 'knowngood[apprise]'"
            ) from error
        schema = urlsplit(url.reveal()).scheme.lower()
        if schema not in schemas:
            raise BadPolicy(
                f"{schema or 'no scheme'!r} is none of the services that are reached by Apprise",
                known=sorted(schemas),
                next_step="for any other address use a channel of kind `webhook`",
            )
        asset = apprise.AppriseAsset(
            app_id="knowngood", app_desc="knowngood", http_redirects=False, async_mode=False
        )
        separator = "&" if "?" in url.reveal() else "?"
        made = apprise.Apprise.instantiate(
            f"{url.reveal()}{separator}{TIMEOUTS}", asset=asset, suppress_exceptions=True
        )
        if made is None:
            raise BadPolicy(f"Apprise does not understand this `{schema}` address")
        self._service: Any = made
        self._schema = schema
        self._kinds = {
            Severity.CRITICAL: apprise.NotifyType.FAILURE,
            Severity.HIGH: apprise.NotifyType.FAILURE,
            Severity.MEDIUM: apprise.NotifyType.WARNING,
            Severity.LOW: apprise.NotifyType.INFO,
        }
        self._over = apprise.NotifyType.SUCCESS

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        kind = self._over if page.purpose is Purpose.RESOLVED else self._kinds[page.severity]
        if self._service.notify(body=text(page), title=title(page), notify_type=kind):
            return Delivered(f"taken by {self._schema}")
        return Retry(f"{self._schema} did not take it; Apprise does not say why")
