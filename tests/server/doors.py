"""A server with people: tokens of every role, and who sends what with which."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.server.world import World
from tests.server.world import world as new_world

SECRETS = {
    "robot": "sdk/robot:a-secret-of-the-robot",
    "vera": "viewer/vera:a-secret-of-veras-own",
    "ana": "operator/ana:a-secret-of-anas-own",
    "otto": "operator/otto:a-secret-of-ottos",
    "ben": "approver/ben:a-secret-of-bens-own",
    "ada": "admin/ada:a-secret-of-adas-own",
}


@dataclass
class Person:
    """Somebody with a token, in front of the server."""

    world: World
    headers: dict[str, str]

    def ask(self, method: str, path: str, **kwargs: Any) -> Any:
        headers = {**self.headers, **kwargs.pop("headers", {})}
        return self.world.client.request(method, path, headers=headers, **kwargs)

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, status: int = 200, **body: Any) -> Any:
        answer = self.ask("POST", path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def refused(self, path: str, status: int, **body: Any) -> Any:
        """The error of a refused order."""
        return self.post(path, status, **body)["error"]


@dataclass
class House:
    """A server, and everybody who may knock."""

    world: World
    people: dict[str, Person]

    def __getattr__(self, name: str) -> Person:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None


def bearer(spec: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {spec}"}


@contextmanager
def house(names: tuple[str, ...] = tuple(SECRETS), **settings: Any) -> Iterator[House]:
    tokens = tuple(SECRETS[name] for name in names)
    with new_world(tokens=tokens, **settings) as made:
        people = {name: Person(made, bearer(SECRETS[name])) for name in names}
        yield House(made, people)
