"""What other systems hand in: answers by PagerDuty and Slack, alerts as evidence.

A 2xx is only said after what it says is kept.
"""

from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask

from knowngood.adapters.inbound import alertmanager, fields, pagerduty, slack
from knowngood.core.errors import KnowngoodError, Unauthorized
from knowngood.core.inbound import ALERTMANAGER, GRAFANA, InboundRule
from knowngood.server import hooks, outside
from knowngood.server.api.machines import parse_json
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.errors import NotFound
from knowngood.server.runtime import Runtime, runtime_of

Data = dict[str, Any]

SECRET_HEADER = "x-knowngood-secret"  # noqa: S105 - the name of a header

router = APIRouter(prefix="/hooks", responses=REFUSALS, tags=["hooks"])


def _body(kind: str, what: str) -> Data:
    """What a sender sends is described where it is documented: by the sender."""
    schema = {"type": "object", "description": what}
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


@router.post(
    "/pagerduty",
    summary="Take what people did in PagerDuty",
    openapi_extra=_body("application/json", "A v3 webhook, signed with X-PagerDuty-Signature."),
)
async def from_pagerduty(request: Request) -> Data:
    """An acknowledgement or a resolution there stops our escalation; all else is left alone."""
    server = runtime_of(request)
    body = await request.body()
    secrets = server.hooks.pagerduty
    if not secrets:
        raise Unauthorized(
            "PagerDuty is not listened to: no channel of the policy has a webhook_secret"
        )
    header = request.headers.get(pagerduty.SIGNATURE_HEADER, "")
    if not pagerduty.is_signed(body, header, secrets):
        raise Unauthorized("this is not signed by PagerDuty with a secret that we know")
    event = pagerduty.read(body)
    return await server.act(hooks.from_pager, server.desk, event, server.clock.now_ms())


@router.post(
    "/slack",
    summary="Take a press of a button in Slack",
    openapi_extra=_body(
        "application/x-www-form-urlencoded", "An interaction, signed with X-Slack-Signature."
    ),
)
async def from_slack(request: Request) -> Any:
    """The answer of the person who pressed it, once.

    Slack takes 200 as "it came in", and anything else as "it failed": a refusal is 200 as well, and
    is told to that person alone, at the address that Slack names for it (`response_url`).
    """
    server = runtime_of(request)
    body, now_ms = await request.body(), server.clock.now_ms()
    secrets = server.hooks.slack
    if not secrets:
        raise Unauthorized(
            "Slack is not listened to: no channel of the policy has a signing_secret"
        )
    at = request.headers.get(slack.TIME_HEADER, "")
    signature = request.headers.get(slack.SIGNATURE_HEADER, "")
    if not slack.is_signed(body, at, signature, secrets, now_ms):
        raise Unauthorized("this is not signed by Slack within the last five minutes")
    press = slack.read(body)
    if press is None:
        return {"outcome": "left_alone"}
    nonce = slack.nonce_of(body)
    try:
        return await server.act(hooks.from_slack, server.desk, press, nonce, now_ms)
    except hooks.Copied:
        raise  # a copy comes from somebody else than Slack
    except KnowngoodError as error:
        if not press.response_url:
            raise
        told = BackgroundTask(server.test, hooks.tell_refused, server.egress, press, error)
        said = {"outcome": "refused", "because": error.message}
        return JSONResponse(said, background=told)


@router.post(
    "/alertmanager",
    summary="Take alerts of Alertmanager",
    openapi_extra=_body("application/json", "Alertmanager's webhook, format 4."),
)
async def from_alertmanager(request: Request) -> Data:
    """As evidence beside an incident; nothing follows from an alert by itself."""
    return await _alerts(request, ALERTMANAGER)


@router.post(
    "/grafana",
    summary="Take alerts of Grafana",
    openapi_extra=_body("application/json", "The webhook of a contact point."),
)
async def from_grafana(request: Request) -> Data:
    """As evidence beside an incident; nothing follows from an alert by itself."""
    return await _alerts(request, GRAFANA)


@router.post(
    "/json/{source}",
    summary="Take an alert of any shape",
    openapi_extra=_body("application/json", "Whatever the policy explains under `inbound`."),
)
async def from_json(
    request: Request, source: Annotated[str, Path(description="Its name in the policy.")]
) -> Data:
    """As evidence beside an incident; the policy says which field means what."""
    server = runtime_of(request)
    rule = _rule(server, source)
    if not rule.is_json:
        raise NotFound(f"{source} has an address of its own", next_step=f"/hooks/{source}")
    _check_secret(request, server, source)
    body, now_ms = await request.body(), server.clock.now_ms()
    alert = fields.read(parse_json(body), rule, sha256(body).hexdigest(), now_ms)
    return await server.act(outside.receive, server.desk, rule, [alert])


async def _alerts(request: Request, source: str) -> Data:
    server = runtime_of(request)
    rule = _rule(server, source)
    _check_secret(request, server, source)
    body, now_ms = await request.body(), server.clock.now_ms()
    group = alertmanager.read(parse_json(body), rule, sha256(body).hexdigest(), now_ms)
    return await server.act(outside.receive, server.desk, rule, group.alerts, group.left_out_count)


def _rule(server: Runtime, source: str) -> InboundRule:
    rule = server.desk.policy.inbound_from(source)
    if rule is None:
        known = [each.source for each in server.desk.policy.inbound]
        raise NotFound(
            f"the policy does not know {source[:100]!r} under `inbound`",
            known=known,
            next_step=f'add it: inbound: {{{source[:100]}: {{prompt: "label:prompt"}}}}',
        )
    return rule


def _check_secret(request: Request, server: Runtime, source: str) -> None:
    """A token has proven who sends this, or the source's own secret does. Raises Unauthorized."""
    needs_secret = source in server.hooks.sources
    if request.state.caller is not None and not (server.settings.is_local and needs_secret):
        return
    if not server.hooks.is_from(source, request.headers.get(SECRET_HEADER, "")):
        raise Unauthorized(
            f"this is not the secret of {source}"
            if needs_secret
            else f"{source} has no secret of its own in the policy",
            next_step="send it as X-Knowngood-Secret, or a token with the role sdk",
        )
