"""E-mail through a real SMTP server: threaded, as text and as HTML, encrypted where asked for."""

import email
import shutil
import ssl
import subprocess
from email import policy as mail_policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from knowngood.adapters.notify.email import Email, MailServer
from knowngood.adapters.secrets import Secret
from knowngood.core.asking import Purpose
from knowngood.core.errors import BadPolicy
from knowngood.core.people import Person
from knowngood.ports import Delivered, Picture, Rejected, Retry
from tests.adapters.vendors import NOW_MS, closed_port, page

SENDER = "knowngood <kg@kg.example.com>"


class Mailbox:
    """Takes every mail, unless it is told to say something else."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.refuses: dict[str, str] = {}  # by recipient
        self.says = ""

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        if said := self.refuses.get(address):
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:
        if self.says:
            return self.says
        self.envelopes.append(envelope)
        return "250 taken as 17"

    def mails(self) -> list[EmailMessage]:
        return [parsed(envelope) for envelope in self.envelopes]


def parsed(envelope: Envelope) -> EmailMessage:
    content = envelope.content
    assert isinstance(content, bytes)
    made = email.message_from_bytes(content, policy=mail_policy.default)
    assert isinstance(made, EmailMessage)
    return made


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def serve(mailbox):
    """Starts mail servers, and ends them."""
    started: list[Controller] = []

    def start(**options: Any) -> int:
        made = Controller(mailbox, hostname="127.0.0.1", port=closed_port(), **options)
        made.start()
        started.append(made)
        return made.port

    yield start
    for controller in started:
        controller.stop()


@pytest.fixture
def plain(serve):
    """A channel to a server without encryption, on this machine."""
    return Email(MailServer("127.0.0.1", "none", serve()), SENDER, ["ops@example.com"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate of `localhost`, for a server, and a client that trusts it."""
    if not shutil.which("openssl"):
        pytest.fail("openssl is needed to make a certificate: apt-get install openssl")
    folder: Path = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=cert)


def test_a_mail_says_everything_twice(plain, mailbox):
    """As text and as HTML, to the people of the page and to those who are always told."""
    told = plain.notify(page(), "", NOW_MS)
    assert isinstance(told, Delivered) and told.answer == "taken for 3"
    (mail,) = mailbox.mails()
    assert mailbox.envelopes[0].mail_from == "kg@kg.example.com"
    assert mailbox.envelopes[0].rcpt_tos == ["ana@example.com", "ben@example.com",
                                             "ops@example.com"]  # fmt: skip
    assert mail["Subject"] == "customer-support: 6 % of calls fail. Roll back or investigate?"
    assert mail["Auto-Submitted"] == "auto-generated" and mail["X-Priority"] == "1"
    assert mail["Date"].datetime.timestamp() * 1000 == NOW_MS
    plain_part, html_part = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain_part is not None and html_part is not None
    for said in (plain_part.get_content(), html_part.get_content()):
        for words in ("v2 fails 6 %", "https://kg.example.com/answer/approve", "on-call, ana"):
            assert words in said


def test_a_mail_carries_the_chart(plain, mailbox):
    """Beside its words, with others for whoever sees no images; the text alone has none."""
    shown = Picture(b"\x89PNG...", 'errors 6.0% > "limit"')
    assert isinstance(plain.notify(page(picture=lambda: shown), "", NOW_MS), Delivered)
    (mail,) = mailbox.mails()
    images = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert [image.get_content() for image in images] == [shown.png]
    said = mail.get_body(("html",)).get_content()
    assert f"cid:{images[0]['Content-ID'].strip('<>')}" in said
    assert 'alt="errors 6.0% &gt; &quot;limit&quot;"' in said
    assert "v2 fails 6 %" in mail.get_body(("plain",)).get_content()


def test_a_mail_goes_out_without_a_chart(plain, mailbox):
    """Where none could be had in time, the mail is the one that it always was."""
    for picture in (None, lambda: None):
        assert isinstance(plain.notify(page(picture=picture), "", NOW_MS), Delivered)
    one, other = mailbox.mails()
    for mail in (one, other):
        assert mail.get_content_type() == "multipart/alternative"
        assert "<img" not in mail.get_body(("html",)).get_content()


def test_a_thread_is_a_thread(plain, mailbox):
    """All later mails refer to the first, which is derived from the page's key."""
    told = plain.notify(page(), "", NOW_MS)
    again = plain.notify(page(), "", NOW_MS + 5_000)
    assert isinstance(told, Delivered) and isinstance(again, Delivered)
    end = page(key="end", purpose=Purpose.RESOLVED, audience="incidents", people=())
    ended = plain.notify(end, told.receipt, NOW_MS + 60_000)
    assert isinstance(ended, Delivered)
    first, second, last = mailbox.mails()
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Message-ID"].endswith("@kg.example.com>") and first["References"] is None
    assert last["References"] == last["In-Reply-To"] == first["Message-ID"] != last["Message-ID"]
    assert last["Subject"].strip().startswith("Resolved: ") and last["X-Priority"] is None
    assert set(mailbox.envelopes[2].rcpt_tos) == set(mailbox.envelopes[0].rcpt_tos)
    for receipt in (told.receipt, again.receipt, ended.receipt):
        assert receipt.split()[0] == first["Message-ID"]


def test_a_receipt_of_another_kind_is_none(plain, mailbox):
    """Such as one that another kind of channel of this name has left behind."""
    assert isinstance(plain.notify(page(), '{"channel": "C1"} eve@example.com', NOW_MS), Delivered)
    assert mailbox.mails()[0]["References"] is None
    assert "eve@example.com" not in mailbox.envelopes[0].rcpt_tos


def test_what_a_page_says_ends_no_header_and_no_element(plain, mailbox):
    """A subject with a line of its own, a body with HTML, an address with a second one."""
    told = plain.notify(
        page(
            subject="a\r\nBcc: eve@example.com\nb",
            body="<script>alert(1)</script>",
            people=(Person("eve", "eve@example.com\nBcc: x@example.com"),),
        ),
        "",
        NOW_MS,
    )
    assert isinstance(told, Delivered)
    (mail,) = mailbox.mails()
    assert mail["Bcc"] is None and mail["Subject"] == "a Bcc: eve@example.com b"
    assert mailbox.envelopes[0].rcpt_tos == ["ops@example.com"]
    html = mail.get_body(("html",))
    assert html is not None and "<script>" not in html.get_content()


def test_a_dot_ends_no_mail(plain, mailbox):
    """Nor does anything else in the body, or letters of any language."""
    plain.notify(page(subject="naïve ✓ 検索", body="<b>ü</b>\n.\nQUIT"), "", NOW_MS)
    (mail,) = mailbox.mails()
    text = mail.get_body(("plain",))
    assert text is not None and "\n.\nQUIT\n" in text.get_content().replace("\r\n", "\n")
    assert mail["Subject"] == "naïve ✓ 検索"
    html = mail.get_body(("html",))
    assert html is not None and "&lt;b&gt;ü&lt;/b&gt;" in html.get_content()


def test_encrypted_and_logged_in(serve, mailbox, certificate):
    """STARTTLS, then the login; the certificate is checked."""
    server, trust = certificate
    logins = []

    def login(server, session, envelope, mechanism, data) -> AuthResult:
        logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"correct horse", handled=False)

    port = serve(tls_context=server, require_starttls=True, authenticator=login,
                 auth_required=True)  # fmt: skip

    def mail(password: str, trusted: ssl.SSLContext | None) -> Any:
        account = MailServer("localhost", "starttls", port, "kg", Secret(password), trusted)
        return Email(account, SENDER, ["ops@example.com"]).notify(page(), "", NOW_MS)

    assert isinstance(mail("correct horse", trust), Delivered)
    assert logins[-1] == (b"kg", b"correct horse") and len(mailbox.envelopes) == 1
    wrong = mail("wrong horse", trust)
    assert isinstance(wrong, Rejected) and wrong.error.startswith("535")
    assert "horse" not in wrong.error
    untrusted = mail("correct horse", None)
    assert isinstance(untrusted, Retry) and "certificate is not trusted" in untrusted.error
    assert len(mailbox.envelopes) == 1


def test_encrypted_from_the_first_byte(serve, mailbox, certificate):
    """TLS without a word in the clear."""
    server, trust = certificate
    port = serve(ssl_context=server)
    account = MailServer("localhost", "tls", port, trust=trust)
    told = Email(account, SENDER, ["ops@example.com"]).notify(page(), "", NOW_MS)
    assert isinstance(told, Delivered) and len(mailbox.envelopes) == 1


def test_a_server_that_cannot_encrypt_gets_nothing(serve, mailbox):
    """Asked for STARTTLS, nothing is sent in the clear instead."""
    account = MailServer("127.0.0.1", "starttls", serve())
    told = Email(account, SENDER, ["ops@example.com"]).notify(page(), "", NOW_MS)
    assert isinstance(told, Rejected) and "STARTTLS" in told.error
    assert mailbox.envelopes == []


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("421 closing", Retry),
        ("451 try later", Retry),
        ("452 no room", Retry),
        ("550 no such mailbox", Rejected),
        ("554 looks like spam", Rejected),
    ],
)
def test_what_a_mail_server_answers(plain, mailbox, says, expected):
    """Fours are tried again, fives never; to the letter and to its recipients."""
    mailbox.says = says
    told = plain.notify(page(), "", NOW_MS)
    assert isinstance(told, expected) and told.error == says
    mailbox.says = ""
    mailbox.refuses = dict.fromkeys(("ana@example.com", "ben@example.com", "ops@example.com"), says)
    told = plain.notify(page(), "", NOW_MS)
    assert isinstance(told, expected)
    assert mailbox.envelopes == []


def test_one_wrong_address_keeps_it_from_nobody_else(plain, mailbox):
    """The others have it, and the log says that not all have."""
    mailbox.refuses = {"ben@example.com": "550 no such mailbox"}
    told = plain.notify(page(), "", NOW_MS)
    refused = "refused: ben@example.com (550 no such mailbox)"
    assert isinstance(told, Delivered) and told.answer == f"taken for 2 of 3; {refused}"
    assert len(mailbox.envelopes) == 1


def test_many_wrong_addresses_are_not_all_listed(serve, mailbox):
    """The first few, and how many more."""
    wrong = [f"p{number}@example.com" for number in range(9)]
    mailbox.refuses = dict.fromkeys(wrong, "550 no such mailbox")
    channel = Email(MailServer("127.0.0.1", "none", serve()), SENDER, ["ops@example.com", *wrong])
    told = channel.notify(page(people=()), "", NOW_MS)
    assert isinstance(told, Delivered) and told.answer.startswith("taken for 1 of 10; refused: p0@")
    assert told.answer.endswith("p4@example.com (550 no such mailbox); and 4 more")


def test_nobody_to_write_to():
    """Is told as what it is, and not to a server."""
    channel = Email(MailServer("127.0.0.1", "none", closed_port()), SENDER)
    told = channel.notify(page(people=()), "", NOW_MS)
    assert isinstance(told, Rejected) and "nobody of 'on-call' has a mail address" in told.error


def test_where_nothing_listens():
    """It may come back."""
    channel = Email(MailServer("127.0.0.1", "none", closed_port()), SENDER, ["ops@example.com"])
    told = channel.notify(page(), "", NOW_MS)
    assert isinstance(told, Retry) and "refused" in told.error


@pytest.mark.parametrize(
    ("sender", "security", "words"),
    [("nobody", "starttls", "not the address"), (SENDER, "none", "in the clear")],
)
def test_mistakes_stop_the_start(sender, security, words):
    """A sender that is none; a password for everybody on the way to read."""
    with pytest.raises(BadPolicy, match=words):
        Email(MailServer("mail", security, 0, "kg", Secret("secret")), sender)
