"""What a provider's answer means: one table for everybody who speaks HTTP."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from knowngood.adapters.egress import Answer, Failed, Refused
from knowngood.ports import Delivered, Rejected, Retry

# A request that came too late, a throttle, and whatever is wrong with the provider itself.
RETRIED = frozenset({408, 421, 423, 425, 429})
RETRY_AFTER_MAX_MS = 24 * 3_600_000  # no message lives longer
WORDS_MAX = 200  # of what a provider says: enough to know what is wrong

MEANING: Mapping[int, str] = {
    400: "it does not understand the message",
    401: "it does not know our credentials",
    403: "it does not let us do this",
    404: "there is nothing at this address any more",
    410: "this address has been closed",
    413: "the message is too large for it",
    429: "it takes no more messages for now",
}


def judge(
    answer: Answer, now_ms: int, said: str = "", receipt: str = ""
) -> Delivered | Retry | Rejected:
    """The port's word for an answer; `said` is what the provider's own fields say of it.

    Any 2xx is a success and nothing else is: a redirect is not followed.
    """
    words = f"{answer.status}{f': {short(said)}' if said.strip() else _meaning(answer.status)}"
    if 200 <= answer.status < 300:
        return Delivered(words, receipt)
    if answer.status in RETRIED or answer.status >= 500:
        return Retry(words, retry_after_ms(answer.headers, now_ms))
    return Rejected(words)


def asked(
    ask: Callable[[], Delivered | Retry | Rejected],
) -> Delivered | Retry | Rejected:
    """What asking says, or why nobody was asked or answered."""
    try:
        return ask()
    except Failed as error:
        return Retry(str(error))
    except Refused as error:
        return Rejected(str(error))


def retry_after_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """The pause that Retry-After asks for, as seconds or as a date; None without a sensible one."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:9]) * 1_000, RETRY_AFTER_MAX_MS)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    pause_ms = int((at - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds() * 1_000)
    return min(max(0, pause_ms), RETRY_AFTER_MAX_MS)


def short(said: str) -> str:
    """What somebody else's program says, as one line of bounded length that prints."""
    line = " ".join(said.split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= WORDS_MAX else line[: WORDS_MAX - 1] + "…"


def _meaning(status: int) -> str:
    if 300 <= status < 400:
        return " (a redirect, which is not followed)"
    return f" ({MEANING[status]})" if status in MEANING else ""
