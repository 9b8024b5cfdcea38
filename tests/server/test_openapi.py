"""The description of the API: complete, true, and robust against what a machine makes of it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from starlette.testclient import TestClient

from tests.server.world import world as new_world

METHODS = ("get", "post", "put", "delete", "patch")


def operations(schema):
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method} {path}", item[method]


def test_every_operation_is_described(world):
    """A summary, an id of its own, and the one shape of errors."""
    schema = world.get("/openapi.json")
    found = dict(operations(schema))
    assert len(found) >= 24
    for name, operation in found.items():
        assert operation.get("summary"), name
        assert "4XX" in operation["responses"], name
    ids = [operation["operationId"] for operation in found.values()]
    assert len(set(ids)) == len(ids)


def test_every_field_of_a_body_is_described(world):
    """What may be sent explains itself, and nothing else may be sent."""
    schemas = world.get("/openapi.json")["components"]["schemas"]
    bodies = {n: s for n, s in schemas.items() if n.endswith("Body") and n != "ErrorBody"}
    assert len(bodies) >= 8
    for name, schema in bodies.items():
        assert schema["additionalProperties"] is False, name
        for field, described in schema["properties"].items():
            assert described.get("description"), f"{name}.{field}"


def test_with_tokens_the_description_says_so():
    """A generated client sends the header."""
    token = "a-token-of-some-length"
    with new_world(tokens=(token,)) as made:
        headers = {"Authorization": f"Bearer {token}"}
        schema = made.client.get("/openapi.json", headers=headers).json()
    assert schema["security"] == [{"token": []}]


@pytest.mark.slow
def test_whatever_is_sent_is_answered_as_described():
    """Schemathesis makes up requests, fit and unfit: no 5xx, and every answer is in the schema."""
    with new_world(allow_hosts=("testserver",)) as made:
        made.route_two()
        made.tick()
        assert isinstance(made.client, TestClient)
        schema = schemathesis.openapi.from_asgi("/openapi.json", made.client.app)
        for result in schema.get_all_operations():
            attempt(result.ok().as_strategy())  # type: ignore[union-attr]
        assert made.get("/api/doctor")["ok"]


CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
)


def attempt(cases):
    """Send some of the cases of one operation."""
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]

    @settings(
        max_examples=12,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def run(case):
        case.call_and_validate(checks=checks)

    run()
