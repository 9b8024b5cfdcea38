"""The one way out: every HTTP request that this server makes to somebody else's address.

HTTPS only. The host's name is resolved once, every address it has is checked, and the connection
goes to an address that was checked, so that a name cannot be bent to an inner service between the
check and the use. Redirects are not followed. A request has a total time, an answer a size.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import BoundedSemaphore, Thread
from typing import Any
from urllib.parse import urlsplit

import httpcore

TOTAL_S = 15.0  # Standard Webhooks: 15 to 30 s. A page is tried again 5 s later.
CONNECT_S = 5.0
ANSWER_BYTES_MAX = 64 * 1024  # providers answer in some hundred bytes
REQUEST_BYTES_MAX = 512_000  # what PagerDuty takes; nobody else takes more
USER_AGENT = "knowngood"

# Names that are looked up at once. One that hangs keeps its thread until the resolver gives up.
LOOKUPS_MAX = 32
_lookups = BoundedSemaphore(LOOKUPS_MAX)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Where an IPv4 address hides in an IPv6 one that is routed to it.
NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


class Refused(Exception):
    """This address is not one that the server talks to. No try will change that."""


class Failed(Exception):
    """There was no answer; another try may have one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `body` may be cut off. It is for adapters, never for a person as it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Egress:
    """What may be talked to. `private`: addresses of an inner network too, and plain HTTP there.

    `loopback`: this machine too, for tests. `proxy`: the URL of a proxy that connects for us; then
    it is the proxy that resolves and has to check. Thread-safe.
    """

    private: bool = False
    loopback: bool = False
    proxy: str = ""
    total_s: float = TOTAL_S
    trust: ssl.SSLContext | None = field(default=None, compare=False, repr=False)

    def check(self, url: str) -> None:
        """Raises Refused for a URL of which no request would be made, as far as can be seen."""
        parts = urlsplit(url)
        if parts.scheme == "http" and (self.private or self.loopback):
            return  # where it goes is checked when its addresses are known
        if parts.scheme != "https":
            raise Refused(f"only https is talked to, not {parts.scheme or 'no scheme'}")
        if not parts.hostname:
            raise Refused("the URL names no host")

    def get(self, url: str) -> Answer:
        """GET. Raises Refused or Failed."""
        return self.send("GET", url, {}, b"")

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST. Raises Refused or Failed."""
        return self.send("POST", url, headers, body)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request on a connection of its own. Raises Refused or Failed.

        No error repeats the URL: of some it is the secret.
        """
        self.check(url)
        if len(body) > REQUEST_BYTES_MAX:
            raise Refused(f"the message has {len(body)} bytes; the limit is {REQUEST_BYTES_MAX}")
        is_plain = urlsplit(url).scheme == "http"
        deadline = time.monotonic() + self.total_s
        backend = _Backend(self, is_plain, deadline)
        proxy = httpcore.Proxy(self.proxy) if self.proxy else None
        if proxy is not None:
            backend = _Backend(Egress(private=True, loopback=True), False, deadline)
        try:
            with (
                httpcore.ConnectionPool(
                    ssl_context=self.trust or _trust(),
                    proxy=proxy,
                    network_backend=backend,
                    http2=False,
                    retries=0,
                ) as pool,
                pool.stream(
                    method,
                    url,
                    headers=[("user-agent", USER_AGENT), *headers.items()],
                    content=body,
                    extensions={"timeout": self._timeouts()},
                ) as response,
            ):
                return Answer(response.status, _headers(response), _body(response))
        except httpcore.TimeoutException as error:
            raise Failed(f"no answer within {self.total_s:g} s") from error
        except (httpcore.NetworkError, httpcore.ProxyError) as error:
            raise Failed(f"no connection: {_reason(error)}") from error
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise Failed("what answered does not speak HTTP properly") from error
        except (UnicodeError, ValueError) as error:
            raise Refused("the URL is none that can be asked") from error

    def _timeouts(self) -> dict[str, float]:
        each = min(CONNECT_S, self.total_s)
        return {"connect": each, "read": self.total_s, "write": self.total_s, "pool": each}

    def may(self, address: Address, is_plain: bool) -> bool:
        """Whether this address is talked to, in plain HTTP or not."""
        if isinstance(address, ipaddress.IPv6Address):
            inner = address.ipv4_mapped or address.sixtofour
            for network in NAT64:
                if address in network:
                    inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
            if inner is not None:
                return self.may(inner, is_plain)
        if address.is_loopback:
            return self.loopback or self.private
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return False  # clouds keep the keys of a machine on a link-local address
        if address.is_global:
            return not is_plain
        # Inner networks, and what carriers and clouds share (100.64.0.0/10).
        return self.private and not address.is_reserved


@cache
def _trust() -> ssl.SSLContext:
    """The machine's certificates; made once, because it takes some ten milliseconds."""
    return ssl.create_default_context()


def lookup(host: str, port: int) -> list[str]:
    """Every address that the host's name stands for. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def lookup_within(limit_s: float, host: str, port: int) -> list[str]:
    """What `lookup` finds, if it comes in time. Raises httpcore.ConnectTimeout, or OSError.

    The system's resolver takes no time limit, and may hang for half a minute: it is asked in a
    thread of its own, which is left behind when it is late.
    """
    lookups = _lookups
    if not lookups.acquire(blocking=False):
        raise httpcore.ConnectTimeout("earlier names have not been found yet")
    done: list[list[str]] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(lookup(host, port))
        except Exception as error:
            failed.append(error)
        finally:
            lookups.release()

    thread = Thread(target=run, daemon=True, name="knowngood-lookup")
    try:
        thread.start()
    except RuntimeError as error:  # no more threads
        lookups.release()
        raise httpcore.ConnectError("no thread to find the host's name in") from error
    thread.join(limit_s)
    if failed:
        raise failed[0]
    if not done:
        raise httpcore.ConnectTimeout("the host's name was not found in time")
    return done[0]


class _Backend(httpcore.NetworkBackend):
    """Connects to checked addresses only, and keeps the request's total time."""

    def __init__(self, rules: Egress, is_plain: bool, deadline: float) -> None:
        self._rules, self._is_plain, self._deadline = rules, is_plain, deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore."""
        last: Exception | None = None
        for address in self._addresses(host, port, _left(self._deadline, timeout)):
            try:
                stream = self._inner.connect_tcp(
                    address, port, _left(self._deadline, timeout), local_address, socket_options
                )
                return _Timed(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last or httpcore.ConnectError("it has no address")

    def _addresses(self, host: str, port: int, limit_s: float) -> list[str]:
        """Every address of the host. Raises Refused if one of them is not to be talked to."""
        try:
            addresses = lookup_within(limit_s, host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the host's name is not known") from error
        for address in addresses:
            if not self._rules.may(ipaddress.ip_address(address), self._is_plain):
                how = "in plain HTTP" if self._is_plain else "from here"
                raise Refused(f"{host} is at an address that is not talked to {how}")
        return addresses


class _Timed(httpcore.NetworkStream):
    """A connection that ends with the request's time, however slowly something trickles in."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See httpcore."""
        return self._inner.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore."""
        self._inner.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        """See httpcore."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore."""
        left = _left(self._deadline, timeout)
        return _Timed(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """See httpcore."""
        return self._inner.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the request's time is over")
    return left if timeout is None else min(left, timeout)


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in response.headers}


def _body(response: httpcore.Response) -> bytes:
    """As much of the body as is read: the rest is of no interest."""
    body = b""
    for chunk in response.iter_stream():
        body += chunk
        if len(body) >= ANSWER_BYTES_MAX:
            break
    return body[:ANSWER_BYTES_MAX]


def _reason(error: Exception) -> str:
    """What the system says, without anything that a foreign server said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)[:100] or type(error).__name__
