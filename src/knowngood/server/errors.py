"""Errors that only a server can meet, and which HTTP status each code is told with."""

from knowngood.core.errors import KnowngoodError

KNOWN_MAX = 50  # names in one error: enough to find a typing error, short enough to read


class NotFound(KnowngoodError):
    """There is nothing at this address."""

    code = "not_found"


class MethodNotAllowed(KnowngoodError):
    """This address does not take this method."""

    code = "method_not_allowed"


class TooLarge(KnowngoodError):
    """The body is too large."""

    code = "too_large"


class NotJson(KnowngoodError):
    """The body must be sent as JSON."""

    code = "unsupported_media_type"


class TooMany(KnowngoodError):
    """Too many requests with this token."""

    code = "too_many"

    def __init__(self, message: str = "", *, after_s: int = 1, next_step: str = "") -> None:
        """`after_s`: when the next one will be taken."""
        super().__init__(message, next_step=next_step)
        self.after_s = after_s


class NotReady(KnowngoodError):
    """The server is not ready."""

    code = "not_ready"


class Internal(KnowngoodError):
    """Something went wrong in the server; its log says what."""

    code = "internal"


STATUS = {
    "unauthorized": 401,
    "forbidden": 403,
    "bad_link": 403,
    "link_expired": 410,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_large": 413,
    "unsupported_media_type": 415,
    "too_many": 429,
    "content_conflict": 409,
    "release_conflict": 409,
    "stale_state": 409,
    "quarantined": 409,
    "not_known_good": 409,
    "no_target": 409,
    "not_confirmed": 409,
    "nothing_asked": 409,
    "stale_answer": 409,
    "not_frozen": 409,
    "not_comparable": 409,
    "in_progress": 409,
    "already_served": 409,
    "in_use": 409,
    "gate_closed": 409,
    "target_evaluation": 409,
    "no_rollout": 409,
    "run_closed": 409,
    "cannot_tell": 409,
    "not_routed": 409,
    "internal": 500,
    "not_ready": 503,
    "renderer_failed": 503,
    "store_unavailable": 503,
}


def status_of(code: str) -> int:
    """The HTTP status of an error's code."""
    if code in STATUS:
        return STATUS[code]
    if code.startswith("unknown_"):
        return 404
    return 422 if code.startswith("bad_") else 500


def body_of(error: KnowngoodError) -> dict[str, object]:
    """The one error shape; of a long list of known names, the first."""
    if len(error.known) <= KNOWN_MAX:
        return error.as_dict()
    short = KnowngoodError(
        f"{error.message} ({len(error.known)} are known; these are the first)",
        known=error.known[:KNOWN_MAX],
        next_step=error.next_step,
    ).as_dict()
    return {"error": {**short["error"], "code": error.code}}  # type: ignore[dict-item]
