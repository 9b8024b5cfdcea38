"""Tokens: how they are written down, made, and recognised.

A token is written `role/name:secret`; without a role it may do everything, without a name it says
nothing of who holds it. Instead of the secret its sha256 may stand there, so that a file of tokens
opens nothing to whoever reads it.
"""

import os
import re
import stat
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

from knowngood.core.errors import KnowngoodError, Unauthorized
from knowngood.server.roles import LADDER, Caller, Need, Role, bearers

# 16 characters of base62 are 95 bits: out of reach of guessing over a network.
TOKEN_CHARS_MIN = 16
SENT_CHARS_MAX = 1_000  # a header that is longer is no token of ours
SECRET_BYTES = 32
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_CHARS = 43  # of base62, for 32 bytes
FILE_BYTES_MAX = 1024 * 1024  # some ten thousand people
ROLES = tuple(role.value for role in (Role.SDK, *LADDER))

DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.@-]{0,99}")
MADE = re.compile(r"kg_(?P<role>[a-z]+)_(?P<name>[A-Za-z0-9.@-]+)_(?P<secret>[0-9A-Za-z]+)_")
MADE_WHOLE = re.compile(MADE.pattern + r"(?P<crc>[0-9a-f]{8})")
ROLE_PREFIX = re.compile(r"(?P<role>[a-z-]+)/(?P<rest>.+)")
COMMENT = re.compile(r"(?:^|\s)#.*")


class BadToken(KnowngoodError):
    """A token is not written as it should be."""

    code = "bad_settings"


@dataclass(frozen=True, slots=True)
class Token:
    """One token as the server knows it: never its secret."""

    caller: Caller
    digest: bytes
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Roster:
    """Everybody who holds a token of this server."""

    tokens: tuple[Token, ...] = ()
    _by_digest: dict[bytes, Token] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_digest", {token.digest: token for token in self.tokens})

    def in_force(self, now_ms: int) -> tuple[Caller, ...]:
        """The holders of tokens that have not ended."""
        return tuple(t.caller for t in self.tokens if t.until_ms is None or now_ms < t.until_ms)

    def who(self, need: Need, now_ms: int) -> tuple[str, ...]:
        """The names of those who may, sorted."""
        return bearers(self.in_force(now_ms), need)

    def recognise(self, sent: str, now_ms: int) -> Caller:
        """Whose token it is. Raises Unauthorized, which says what is wrong with it."""
        # Looked up by digest: how long that takes says something of a digest, nothing of a secret.
        found = self._by_digest.get(digest_of(sent))
        if found is None:
            raise Unauthorized(*_unknown(sent), next_step=NEXT_STEP)
        if found.until_ms is not None and now_ms >= found.until_ms:
            raise Unauthorized(
                f"this token ended on {day(found.until_ms)}",
                next_step="ask an admin for another: knowngood token make",
            )
        return found.caller

    def holder(self, digest: bytes, now_ms: int) -> Caller | None:
        """Who holds the token of this digest; None if it is not known, or has ended."""
        found = self._by_digest.get(digest)
        if found is None or (found.until_ms is not None and now_ms >= found.until_ms):
            return None
        return found.caller

    def role_of(self, name: str, now_ms: int) -> Role | None:
        """The strongest role of the person's tokens; None if they have none."""
        roles = [c.role for c in self.in_force(now_ms) if c.name == name]
        ranked = [role for role in reversed(LADDER) if role in roles]
        return ranked[0] if ranked else (Role.SDK if roles else None)


NOBODY = Roster()
NEXT_STEP = "send `Authorization: Bearer TOKEN`; the CLI takes KNOWNGOOD_TOKEN"


def digest_of(sent: str) -> bytes:
    """The digest of what is sent. A role before it is no claim: the server's own list says it."""
    prefix = ROLE_PREFIX.fullmatch(sent)
    if prefix and prefix["role"] in ROLES:
        sent = prefix["rest"]
    return sha256(sent.encode()).digest()


def parse_token(line: str) -> Token:
    """The token of `[role/][name:]secret [until=DATE]`; `sha256:HEX` may stand for the secret.

    A token that `knowngood token make` made says its role and name itself. Raises BadToken, which
    never quotes a secret.
    """
    text, *options = line.split(" ")
    until_ms = _until(options)
    role, rest = _role(text)
    head, _, tail = rest.rpartition("sha256:")
    if DIGEST.fullmatch(f"sha256:{tail}") and (not head or head.endswith(":")):
        name = head.removesuffix(":")
        return Token(_caller(name, role), bytes.fromhex(tail), until_ms)
    if made := MADE_WHOLE.fullmatch(rest):
        if not is_intact(rest):
            raise BadToken("a token's checksum does not fit: some of its characters are wrong")
        own = _known_role(made["role"])
        if role not in (None, own):
            raise BadToken(f"a token that was made for a {own.value} cannot be a {role}'s")
        return Token(_caller(made["name"], own), digest_of(rest), until_ms)
    _check_secret(rest)
    return Token(_caller(rest.rpartition(":")[0], role), digest_of(rest), until_ms)


def read_file(path: Path) -> list[str]:
    """The lines of a token file, without comments. Raises BadToken for one that others may read."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise BadToken(f"cannot read the token file {path}: {error.strerror}") from error
    if mode & 0o077:
        raise BadToken(
            f"others may read the token file {path} (its mode is {mode:04o})",
            next_step=f"chmod 600 {path}",
        )
    if len(data) > FILE_BYTES_MAX:
        raise BadToken(f"the token file {path} has more than {FILE_BYTES_MAX} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadToken(f"the token file {path} is not text (UTF-8)") from None
    lines = [" ".join(COMMENT.sub("", line).split()) for line in text.splitlines()]
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        if line:
            try:
                parse_token(line)
            except BadToken as error:
                where = f"{path}, line {number}: {error.message}"
                raise BadToken(where, known=error.known, next_step=error.next_step) from None
            found.append(line)
    if not found:
        raise BadToken(
            f"the token file {path} holds no token: nobody could come in",
            next_step="knowngood token make NAME --role admin prints a line for it",
        )
    return found


def roster_of(lines: Iterable[str]) -> Roster:
    """Everybody with a token. Raises BadToken, also when two people have the same one."""
    tokens = tuple(parse_token(line) for line in lines)
    seen: dict[bytes, Caller] = {}
    for token in tokens:
        other = seen.setdefault(token.digest, token.caller)
        if other != token.caller:
            raise BadToken(f"{other.name!r} and {token.caller.name!r} have the same token")
    return Roster(tokens)


# --- Making


def make(name: str, role: str, random: bytes) -> str:
    """A token, `kg_<role>_<name>_<secret>_<crc32>`, from 32 random bytes. Raises BadToken."""
    if len(random) != SECRET_BYTES:
        raise ValueError(f"a secret takes {SECRET_BYTES} random bytes")
    if not NAME.fullmatch(name):
        raise BadToken(f"{name!r} cannot name a token", next_step="use letters, digits, . @ and -")
    number, letters = int.from_bytes(random, "big"), ""
    for _ in range(SECRET_CHARS):
        number, rest = divmod(number, len(ALPHABET))
        letters = ALPHABET[rest] + letters
    body = f"kg_{_known_role(role).value}_{name}_{letters}_"
    return f"{body}{_crc(body)}"


def line_for(token: str, until: str = "") -> str:
    """The line that lets a made token in: its digest, and never the token."""
    made = MADE_WHOLE.fullmatch(token)
    assert made is not None, "only of a token that `make` made"
    ends = f" until={until}" if until else ""
    line = f"{made['role']}/{made['name']}:sha256:{digest_of(token).hex()}{ends}"
    parse_token(line)
    return line


def is_intact(token: str) -> bool:
    """Whether a made token's checksum fits: a typing error is told from a stranger's token."""
    return token[-8:] == _crc(token[:-8])


def _crc(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


# --- Reading


def _role(text: str) -> tuple[Role | None, str]:
    prefix = ROLE_PREFIX.fullmatch(text)
    if prefix is None:
        return None, text
    if prefix["role"] in ROLES:
        return Role(prefix["role"]), prefix["rest"]
    if ":" in prefix["rest"]:  # `oper/ann:...`: somebody meant a role
        _known_role(prefix["role"])
    return None, text  # a secret with a slash in it


def _known_role(word: str) -> Role:
    if word not in ROLES:
        raise BadToken(f"there is no role {word!r}", known=list(ROLES))
    return Role(word)


def _caller(name: str, role: Role | None) -> Caller:
    return Caller(name, Role.ADMIN if role is None else role)


def _check_secret(rest: str) -> None:
    secret = rest.rpartition(":")[2]
    if len(secret) < TOKEN_CHARS_MIN:
        # The token itself is not quoted: it may be somebody's password.
        raise BadToken(
            f"a token has {len(secret)} characters; it needs at least {TOKEN_CHARS_MIN}",
            next_step="make one: knowngood token make NAME --role operator",
        )
    if not rest.isascii() or not rest.isprintable() or len(rest) > SENT_CHARS_MAX:
        raise BadToken("a token has characters that cannot travel in a header")


def _until(options: list[str]) -> int | None:
    if not options:
        return None
    key, _, value = options[0].partition("=")
    if len(options) > 1 or key != "until":
        raise BadToken(
            "a token has characters that cannot travel in a header: a blank, or words after it",
            known=["until=2027-01-01"],
        )
    try:
        ends = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
    except ValueError:
        raise BadToken(
            f"{value[:40]!r} is not a day", next_step="write it as in until=2027-01-01"
        ) from None
    return int(ends.timestamp()) * 1000


def _unknown(sent: str) -> tuple[str]:
    if not sent:
        return ("this server needs a token",)
    if MADE.match(sent) and not is_intact(sent):
        return ("this token is not whole: its checksum does not fit",)
    return ("this token is not known here",)


def day(ms: int) -> str:
    """The day of an instant, in UTC."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d}"
