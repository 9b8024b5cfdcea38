"""E-mail, by the standard library: threaded, as text and as simple HTML.

The first message of a thread is what all later ones refer to, and whoever was told in it is told
how it goes on. A message's id is derived from its key, so that one that was sent twice is one
message for whoever sorts by ids.
"""

import re
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from hashlib import sha256
from html import escape

from knowngood.adapters.answers import short
from knowngood.adapters.secrets import Secret
from knowngood.adapters.wording import cut, facts, text, title
from knowngood.core.asking import Purpose
from knowngood.core.errors import BadPolicy
from knowngood.ports import Delivered, Page, Picture, Rejected, Retry

PORTS = {"starttls": 587, "tls": 465, "none": 25}
TIMEOUT_S = 10.0  # for each of the server's answers
SUBJECT_MAX = 200
RECIPIENTS_MAX = 50
PICTURE = "chart@knowngood"  # its name within a mail
REFUSED_SHOWN = 5  # in a line of the delivery log
ADDRESS = re.compile(r"[^\s,;<>@]+@[^\s,;<>@]+")  # one, of characters that end no header


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server that takes our mail. `trust` replaces the machine's certificates, for tests."""

    host: str
    security: str = "starttls"  # "starttls", "tls" or "none"
    port: int = 0  # 0: that of the security
    username: str = ""
    password: Secret | None = None
    trust: ssl.SSLContext | None = None

    def connect(self) -> smtplib.SMTP:
        """A connection that is encrypted and logged in, as far as is asked for."""
        port = self.port or PORTS[self.security]
        context = self.trust or ssl.create_default_context()
        if self.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, port, timeout=TIMEOUT_S, context=context
            )
        else:
            server = smtplib.SMTP(self.host, port, timeout=TIMEOUT_S)
        try:
            if self.security == "starttls":
                server.starttls(context=context)  # raises where the server does not offer it
            if self.username and self.password:
                server.login(self.username, self.password.reveal())
        except BaseException:
            server.close()
            raise
        return server


class Email:
    """One sender, and those it always writes to."""

    def __init__(self, server: MailServer, sender: str, to: Sequence[str] = ()) -> None:
        """`to` are told of everything, besides the people of each page. Raises BadPolicy."""
        if "@" not in parseaddr(sender)[1]:
            raise BadPolicy(
                f"{sender!r} is not the address of a sender",
                next_step="from: knowngood <knowngood@your.domain>",
            )
        if server.security == "none" and server.password:
            raise BadPolicy(
                "a password would travel in the clear", next_step="security: starttls, or tls"
            )
        self._server, self._sender, self._to = server, sender, tuple(to)

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        mails = (person.mail for person in page.people if ADDRESS.fullmatch(person.mail))
        first, told = _first(receipt)
        recipients = list(dict.fromkeys([*mails, *self._to, *told]))[:RECIPIENTS_MAX]
        if not recipients:
            return Rejected(
                f"nobody of {page.audience!r} has a mail address, and the channel has no `to`"
            )
        message = self._message(page, recipients, first, now_ms)
        try:
            with self._server.connect() as server:
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            return _refused(error.recipients)
        except smtplib.SMTPNotSupportedError as error:
            return Rejected(short(f"the mail server cannot do it: {error}"))
        except smtplib.SMTPResponseException as error:
            return _answered(error.smtp_code, error.smtp_error)
        except ssl.SSLCertVerificationError as error:
            return Retry(f"its certificate is not trusted ({error.verify_message})")
        except (OSError, smtplib.SMTPException) as error:
            return Retry(short(f"no connection to the mail server: {error}"))
        words = f"taken for {len(recipients) - len(refused)}"
        if refused:  # nothing is sent again: whoever had it would have it twice
            words = f"{words} of {len(recipients)}; refused: {_each(refused)}"
        return Delivered(words, " ".join([first or message["Message-ID"], *recipients]))

    def _message(
        self, page: Page, recipients: Sequence[str], first: str, now_ms: int
    ) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = ", ".join(recipients)
        message["Subject"] = cut(title(page), SUBJECT_MAX)
        message["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
        domain = parseaddr(self._sender)[1].rpartition("@")[2]
        message["Message-ID"] = f"<{sha256(page.key.encode()).hexdigest()[:32]}@{domain}>"
        if first and first != message["Message-ID"]:
            message["In-Reply-To"] = message["References"] = first
        message["Auto-Submitted"] = "auto-generated"  # nobody's absence answers
        if page.purpose is Purpose.PAGE:
            message["X-Priority"] = "1"
            message["Importance"] = "high"
        picture = page.picture() if page.picture else None
        message.set_content(text(page))
        message.add_alternative(html(page, picture), subtype="html")
        if picture is not None:
            part = message.get_body(("html",))
            assert part is not None
            part.add_related(
                picture.png,
                "image",
                "png",
                cid=f"<{PICTURE}>",
                filename="chart.png",
                disposition="inline",
            )
        return message


def _first(receipt: str) -> tuple[str, list[str]]:
    """The id of the thread's first mail, and who was told in the thread so far."""
    first, *told = receipt.split() or [""]
    is_id = first.startswith("<") and first.endswith(">")
    return (first, [mail for mail in told if ADDRESS.fullmatch(mail)]) if is_id else ("", [])


def html(page: Page, picture: Picture | None = None) -> str:
    """The page as HTML in which whatever it says is text; the picture is a part beside it."""
    body = "".join(f"<p>{escape(part)}</p>" for part in page.body.split("\n") if part.strip())
    links = [(button.text, button.url) for button in page.buttons if button.url]
    links += [("Show more", page.url)] if page.url else []
    made = "".join(f'<p><a href="{escape(url)}">{escape(words)}</a></p>' for words, url in links)
    seen = ""
    if picture is not None:
        words = escape(picture.words)
        seen = f'<p><img src="cid:{PICTURE}" alt="{words}" width="640"></p>'
    rows = "".join(
        f"<tr><th align=left>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in facts(page)
    )
    head = f"<h2>{escape(title(page))}</h2>"
    return f"<!doctype html><html><body>{head}{body}{made}{seen}<table>{rows}</table></body></html>"


def _refused(recipients: dict[str, tuple[int, bytes]]) -> Retry | Rejected:
    """Every recipient was refused; if one of them only for now, it is tried again."""
    passing = [(code, said) for code, said in recipients.values() if 400 <= code < 500]
    code, said = (passing or list(recipients.values()))[0]
    return _answered(code, said)


def _each(refused: dict[str, tuple[int, bytes]]) -> str:
    """Who was refused, and with which words."""
    said = [f"{mail} ({_line(code, words)})" for mail, (code, words) in refused.items()]
    more = len(said) - REFUSED_SHOWN
    return "; ".join(said[:REFUSED_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _answered(code: int, said: bytes | str) -> Retry | Rejected:
    line = _line(code, said)
    return Rejected(line) if code >= 500 else Retry(line)


def _line(code: int, said: bytes | str) -> str:
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return short(f"{code} {words}")
