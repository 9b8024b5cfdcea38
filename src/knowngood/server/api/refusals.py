"""Every error in the one shape `{"error": {code, message, known, next}}`."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from knowngood.core.errors import BadRequest, KnowngoodError
from knowngood.server.api.bodies import ErrorBody
from knowngood.server.errors import Internal, MethodNotAllowed, NotFound, body_of, status_of

PROBLEMS_MAX = 5  # of one body; the rest shows when these are mended

# For OpenAPI: what every route may answer besides what it is there for.
REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "Refused; the error says why and what to do."},
    "5XX": {"model": ErrorBody, "description": "The server cannot do it now."},
}


def install(app: FastAPI) -> None:
    """Give the application's errors their shape."""
    app.add_exception_handler(KnowngoodError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def answer(error: KnowngoodError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The error as a response."""
    return JSONResponse(body_of(error), status_of(error.code), headers)


async def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, KnowngoodError)
    return answer(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = list(error.errors())
    shown = "; ".join(_problem(problem) for problem in problems[:PROBLEMS_MAX])
    if len(problems) > PROBLEMS_MAX:
        shown += f"; and {len(problems) - PROBLEMS_MAX} more"
    known = [str(p["ctx"]["expected"]) for p in problems if "expected" in p.get("ctx", {})]
    return answer(
        BadRequest(shown, known=known, next_step="see /openapi.json for what is expected")
    )


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path[:200]
    if error.status_code == 404:
        words = f"there is nothing at {path}"
        return answer(NotFound(words, next_step="see /openapi.json for what there is"))
    if error.status_code == 405:
        headers = dict(error.headers or {})
        allowed = [name.strip() for name in headers.get("Allow", "").split(",") if name.strip()]
        return answer(MethodNotAllowed(f"{path} takes no {method}", known=allowed), headers)
    if error.status_code < 500:
        # The framework could not read the body: broken encoding, nested beyond reason.
        return answer(BadRequest(f"the body cannot be read: {error.detail}"))
    return answer(Internal())


def _problem(problem: dict[str, Any]) -> str:
    if problem.get("type") == "json_invalid":
        place = problem.get("loc", ("body", ""))[-1]
        reason = problem.get("ctx", {}).get("error", "")
        return f"the body is not valid JSON at character {place}: {reason}"
    where = _place(problem.get("loc", ()))
    message = str(problem.get("msg", "is not valid"))
    return f"{where}: {message[:1].lower()}{message[1:]}"


def _place(location: Sequence[Any]) -> str:
    """`arms.0.weight_bp` of ("body", "arms", 0, "weight_bp")."""
    parts = [str(part) for part in location if part not in ("body", "query", "path")]
    return f"`{'.'.join(parts)[:200]}`" if parts else "the body"
