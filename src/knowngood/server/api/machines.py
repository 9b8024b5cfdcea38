"""What programs ask by the second: reports in, snapshots out, probes and figures.

Plain Starlette routes: reports come by the thousand a second, and neither a schema nor a thread
stands in their way. Their OpenAPI description is written by hand.
"""

import json
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from knowngood import wire
from knowngood.core.errors import BadRequest
from knowngood.server.doctor import HEARTBEAT_MS
from knowngood.server.errors import NotReady
from knowngood.server.runtime import Runtime, runtime_of

JSON = "application/json"


async def observations(request: Request) -> Response:
    """Take a client's report in."""
    server = runtime_of(request)
    batch, refused = wire.decode_batch(parse_json(await request.body()))
    receipt = await server.take(batch, refused, server.clock.now_ms())
    return Response(json.dumps(wire.encode_receipt(receipt)), media_type=JSON)


async def snapshot(request: Request) -> Response:
    """Everything that a client needs to serve an environment."""
    server = runtime_of(request)
    environment = request.query_params.get("environment", "production")
    etag, body = await server.serve(server.snapshots.get, environment)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    known = request.headers.get("if-none-match", "")
    if etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=JSON, headers=headers)


async def healthz(request: Request) -> Response:
    """The process is up."""
    return Response('{"ok":true}', media_type=JSON)


async def readyz(request: Request) -> Response:
    """The store answers and the engine ticks."""
    server = runtime_of(request)
    # Not in the lane of questions: those may hang on observations that a rollback does not need.
    problems = await server.serve(_problems, server)
    if problems:
        raise NotReady("; ".join(problems), next_step="see /api/doctor")
    return Response('{"ok":true}', media_type=JSON)


async def metrics(request: Request) -> Response:
    """The server's own figures."""
    server = runtime_of(request)
    text = await server.read(server.metrics.text)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def routes() -> list[Route]:
    """The routes, the busiest first."""
    return [
        Route("/api/observations", observations, methods=["POST"]),
        Route("/api/snapshot", snapshot, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


def parse_json(body: bytes) -> Any:
    """The data in a body; NaN and Infinity are no JSON. Raises BadRequest."""
    try:
        return json.loads(body, parse_constant=_not_json)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError as error:  # of which JSONDecodeError and UnicodeDecodeError are kinds
        raise BadRequest(f"the body is not valid JSON: {error}") from None


def _not_json(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


def _problems(server: Runtime) -> list[str]:
    problems = []
    try:
        server.store.states.environments()
    except Exception as error:
        problems.append(f"the store does not answer: {error}")
    for part, since_ms in server.engine.failing.copy().items():
        if (ago_ms := server.clock.now_ms() - since_ms) > HEARTBEAT_MS:
            problems.append(f"the engine has failed at `{part}` for {ago_ms // 1000} s")
    ticked_ms = server.engine.ticked_ms
    if ticked_ms is None:
        problems.append("the engine has not ticked yet")
    elif (ago_ms := server.clock.now_ms() - ticked_ms) > HEARTBEAT_MS:
        problems.append(f"the engine has not ticked for {ago_ms // 1000} s")
    return problems


# --- OpenAPI

_ERROR = {
    "description": "Refused; the error says why and what to do.",
    "content": {JSON: {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
}
_OK = {
    "description": "It is.",
    "content": {JSON: {"schema": {"type": "object", "properties": {"ok": {"const": True}}}}},
}
_COUNT = {"type": "integer", "minimum": 0}
_COUNTS = {"type": "object", "additionalProperties": _COUNT}
_NAME = {"type": "string", "minLength": 1, "maxLength": wire.NAME_CHARS_MAX}
_ROW = {
    "type": "object",
    "description": "One version in one second.",
    "required": ["prompt", "version", "ago_ms"],
    "properties": {
        "prompt": _NAME,
        "version": _NAME,
        "ago_ms": {**_COUNT, "description": "How long before the report the second began."},
        "ok": _COUNT,
        "errors": {**_COUNTS, "description": "By kind: prompt, provider, timeout."},
        "excluded": {**_COUNT, "description": "Calls that are no evidence."},
        "repeat": {**_COUNT, "description": "Further failures of one unit in this second."},
        "units": {**_COUNT, "description": "Distinct units."},
        "latency": {
            **_COUNTS,
            "description": "OpenTelemetry exponential histogram, scale 6, in ms: bucket to count.",
        },
        "first_token": {**_COUNTS, "description": "The same, up to the first token."},
        "tokens": {"type": "array", "items": _COUNT, "description": "[input, output]."},
        "cost_usd": {"type": "number", "minimum": 0},
        "scores": {
            "type": "object",
            "additionalProperties": _COUNTS,
            "description": "By name: 1 % bin of the declared range (0 to 100) to count.",
        },
        "counters": _COUNTS,
    },
}
_LATE_SCORE = {
    "type": "object",
    "description": "A score of a call made earlier.",
    "required": ["call", "name", "value"],
    "properties": {"call": {"type": "string"}, "name": _NAME, "value": {"type": "number"}},
}
_UNITS = {
    "type": "object",
    "description": "Single units of an arm that the snapshot says is `compared`.",
    "required": ["prompt", "version", "generation", "sums"],
    "properties": {
        "prompt": _NAME,
        "version": _NAME,
        "generation": {**_COUNT, "description": "As the snapshot said when the arm was chosen."},
        "sums": {
            "type": "object",
            "description": "By the unit's hash, 16 hexadecimal digits: the first 8 bytes of "
            "blake2b(`<salt>:<unit>`). [calls, errors, scores]; scores by name: [how many, their "
            f"sum in basis points of the range]. At most {wire.SUMS_PER_FLUSH_MAX} in a report.",
            "additionalProperties": {"type": "array", "minItems": 2, "maxItems": 3},
        },
    },
}
_BATCH = {
    "type": "object",
    "required": ["v", "client", "seq", "environment", "generation"],
    "properties": {
        "v": {"const": wire.VERSION},
        "client": {
            "type": "object",
            "required": ["id", "boot"],
            "properties": {"id": {"type": "string"}, "boot": {"type": "string"}},
        },
        "seq": {
            **_COUNT,
            "description": "Rises with each report of one boot; repeats are dropped.",
        },
        "environment": _NAME,
        "generation": {**_COUNT, "description": "What the client serves from."},
        "dropped": {**_COUNT, "description": "Calls that found the client's buffers full."},
        "refused": {**_COUNTS, "description": "Values the client could not record, by reason."},
        "rows": {"type": "array", "items": _ROW, "maxItems": wire.ROWS_MAX},
        "late_scores": {
            "type": "array",
            "items": _LATE_SCORE,
            "maxItems": wire.LATE_SCORES_MAX,
        },
        "units": {"type": "array", "items": _UNITS, "maxItems": wire.ROWS_MAX},
        "closing": {"type": "boolean", "description": "The client ends properly."},
    },
}
_RECEIPT = {
    "type": "object",
    "required": ["accepted", "ignored", "generation", "next_flush_ms"],
    "properties": {
        "accepted": {**_COUNT, "description": "Rows and late scores taken in."},
        "ignored": {**_COUNTS, "description": "What was left out, by reason."},
        "generation": {**_COUNT, "description": "Above one's own: fetch the snapshot."},
        "next_flush_ms": _COUNT,
    },
}

PATHS: dict[str, Any] = {
    "/api/observations": {
        "post": {
            "tags": ["clients"],
            "summary": "Report what happened",
            "description": "Once a second from each process. A malformed row is left out and "
            "counted; a malformed envelope is refused.",
            "operationId": "observations",
            "requestBody": {"required": True, "content": {JSON: {"schema": _BATCH}}},
            "responses": {
                "200": {
                    "description": "Taken.",
                    "content": {JSON: {"schema": _RECEIPT}},
                },
                "4XX": _ERROR,
                "5XX": _ERROR,
            },
        }
    },
    "/api/snapshot": {
        "get": {
            "tags": ["clients"],
            "summary": "Fetch all that is served",
            "description": "Routes and contents of an environment, with an ETag for If-None-Match.",
            "operationId": "snapshot",
            "parameters": [
                {
                    "name": "environment",
                    "in": "query",
                    "schema": {"type": "string", "default": "production"},
                    "description": "The environment.",
                }
            ],
            "responses": {
                "200": {
                    "description": "The snapshot.",
                    "content": {JSON: {"schema": {"type": "object"}}},
                },
                "304": {"description": "It is what you have."},
                "4XX": _ERROR,
                "5XX": _ERROR,
            },
        }
    },
    "/healthz": {
        "get": {
            "tags": ["server"],
            "summary": "Is the process up?",
            "operationId": "healthz",
            "responses": {"200": _OK, "4XX": _ERROR},
        }
    },
    "/readyz": {
        "get": {
            "tags": ["server"],
            "summary": "Is the server ready?",
            "description": "The store answers, and the engine ticked within ten seconds.",
            "operationId": "readyz",
            "responses": {"200": _OK, "4XX": _ERROR, "5XX": _ERROR},
        }
    },
    "/metrics": {
        "get": {
            "tags": ["server"],
            "summary": "The server's own figures",
            "description": "In Prometheus's text format.",
            "operationId": "metrics",
            "responses": {
                "200": {
                    "description": "The figures.",
                    "content": {"text/plain": {"schema": {"type": "string"}}},
                },
                "4XX": _ERROR,
            },
        }
    },
}
