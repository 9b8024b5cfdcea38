"""The one way out: where it goes, and how long and how much it waits for."""

import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from threading import BoundedSemaphore

import pytest

from knowngood.adapters import egress
from knowngood.adapters.egress import Egress, Failed, Refused
from tests.adapters.vendors import LOCAL, Reply, closed_port, provider

PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
INNER = ["10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.7", "fd00::1",
         "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"]  # fmt: skip
SELF = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
NEVER = [
    "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1", "240.0.0.1",
    "255.255.255.255", "::", "0.0.0.0",  # noqa: S104 - recognised, in order to refuse it
]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        pytest.param(Egress(), PUBLIC, id="by default"),
        pytest.param(Egress(loopback=True), PUBLIC + SELF, id="in tests"),
        pytest.param(Egress(private=True), PUBLIC + INNER + SELF, id="private"),
    ],
)
def test_addresses(rules, allowed):
    """Public ones; others only where somebody has said so, and a cloud's own never."""
    for text in PUBLIC + INNER + SELF + NEVER:
        address = ipaddress.ip_address(text)
        assert rules.may(address, is_plain=False) == (text in allowed), text
        plain = text in allowed and text not in PUBLIC
        assert rules.may(address, is_plain=True) == plain, text


@pytest.mark.parametrize("url", ["http://example.com", "ftp://example.com", "file:///etc/passwd",
                                 "https://", "example.com", "", "gopher://x"])  # fmt: skip
def test_only_https(url):
    """Whatever else a URL may be, no request is made of it."""
    with pytest.raises(Refused):
        Egress().get(url)


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:1/", "https://localhost:1/", "https://[::1]:1/",
            "https://169.254.169.254/latest/meta-data", "https://0x7f000001:1/",
            "https://2130706433:1/"],
)  # fmt: skip
def test_no_inner_service_is_asked(url):
    """However its address is written."""
    with pytest.raises((Refused, Failed)) as refused:
        Egress().get(url)
    if isinstance(refused.value, Failed):  # not every resolver knows numbers as names
        assert "name is not known" in str(refused.value)


def resolves_to(monkeypatch, *answers):
    """Each time the name is asked for, the next addresses."""
    left, asked = list(answers), []

    def lookup(host, port):
        asked.append(host)
        return left.pop(0)

    monkeypatch.setattr(egress, "lookup", lookup)
    return asked


def test_a_name_with_one_inner_address_is_refused(monkeypatch):
    """All of its addresses are looked at, not the first."""
    resolves_to(monkeypatch, ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(Refused, match="an address that is not talked to"):
        Egress().get("https://hooks.example.com/x")


def test_a_name_is_asked_for_once(monkeypatch):
    """What was checked is what is connected to: a second answer would find nobody to fool."""
    with provider() as made:
        asked = resolves_to(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
        answer = LOCAL.get(f"http://hooks.example.com:{made.port}/x")
        assert answer.status == 200 and asked == ["hooks.example.com"]
    assert made.calls[0].headers["host"] == f"hooks.example.com:{made.port}"


def test_a_name_that_is_not_found_in_time(monkeypatch):
    """A resolver that hangs holds nobody longer than a request may take."""
    ended = threading.Event()
    monkeypatch.setattr(egress, "lookup", lambda host, port: ended.wait(30) and [])
    began_s = time.monotonic()
    with pytest.raises(Failed, match=r"no answer within 0.1 s"):
        Egress(total_s=0.1).get("https://hooks.example.com/x")
    assert time.monotonic() - began_s < 5
    ended.set()  # the thread that was left behind ends with it


def test_hanging_names_do_not_pile_up(monkeypatch):
    """So many threads are left behind and no more; once they have ended, names are found again."""
    ended, here = threading.Event(), BoundedSemaphore(2)
    monkeypatch.setattr(egress, "_lookups", here)
    monkeypatch.setattr(egress, "lookup", lambda host, port: ended.wait(30) and ["127.0.0.1"])
    for _ in range(4):
        with pytest.raises(Failed):
            Egress(total_s=0.05).get("https://hooks.example.com/x")
    assert not here.acquire(blocking=False)
    ended.set()
    assert here.acquire(timeout=5) and here.acquire(timeout=5)


def test_the_second_address_is_tried(monkeypatch):
    """Where the first does not answer."""
    with provider() as made:
        resolves_to(monkeypatch, ["127.0.0.2", "127.0.0.1"])
        assert LOCAL.get(f"http://hooks.example.com:{made.port}/x").status == 200


def test_a_certificate_is_checked_against_the_name(monkeypatch, tmp_path):
    """Although the connection goes to an address: the name is that of the URL."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=hooks.example.com", "-addext", "subjectAltName=DNS:hooks.example.com",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    names = []
    context.sni_callback = lambda _, name, __: names.append(name)
    rules = Egress(loopback=True, trust=ssl.create_default_context(cafile=cert))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def serve() -> None:
            for _ in range(3):
                connection, _ = listening.accept()
                with connection:
                    try:
                        with context.wrap_socket(connection, server_side=True) as tls:
                            tls.recv(10_000)
                            tls.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        resolves_to(monkeypatch, *[["127.0.0.1"]] * 3)
        assert rules.get(f"https://hooks.example.com:{port}/").status == 204
        with pytest.raises(Failed, match="certificate is not trusted"):
            rules.get(f"https://other.example.com:{port}/")
        with pytest.raises(Failed, match="certificate is not trusted"):
            Egress(loopback=True).get(f"https://hooks.example.com:{port}/")
        thread.join(10)
    assert names[0] == "hooks.example.com"


def test_an_answer_is_read_up_to_a_limit():
    """What comes after it is of no interest."""
    with provider() as made:
        made.replies(Reply(200, b"x" * 1_000_000))
        assert len(LOCAL.get(made.url).body) == egress.ANSWER_BYTES_MAX


def test_a_request_has_a_limit():
    """Nobody takes more, and nothing of it is sent."""
    with provider() as made, pytest.raises(Refused, match="the limit is 512000"):
        LOCAL.post(made.url, {}, b"x" * 512_001)
    assert made.calls == []


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 2", b"\x00" * 50])
def test_what_is_no_http_is_no_answer(sent):
    """Cut off, or something else altogether."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Failed):
            LOCAL.get(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join(10)


def test_headers_that_trickle_end_with_the_time():
    """A byte now and then does not begin the time anew."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nA: ")
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b"a")
                    except OSError:
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(Failed, match="no answer within"):
                LOCAL.get(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        finally:
            ended.set()
            thread.join(10)


def test_a_proxy_connects_for_us():
    """It is asked for the URL as it is; a name that only it knows is no hindrance."""
    with provider() as made:
        rules = Egress(loopback=True, proxy=made.url)
        assert rules.get("http://hooks.example.com/x").status == 200
    assert made.calls[0].path == "http://hooks.example.com/x"


def test_a_url_that_cannot_be_asked():
    """Is refused, and not repeated."""
    with pytest.raises((Refused, Failed)) as refused:
        Egress().get("https://a b.example.com:999999/secret")
    assert "secret" not in str(refused.value)


def test_where_nothing_listens_says_so():
    """In the system's words."""
    with pytest.raises(Failed, match="Connection refused"):
        LOCAL.get(f"http://127.0.0.1:{closed_port()}/secret")
