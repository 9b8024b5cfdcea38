"""Laws of unit sums: only while arms are compared, only of who was assigned, never twice."""

import pytest

from knowngood.core.routing import bucket, unit_hash
from knowngood.sdk import outbox as outbox_module
from knowngood.wire import Compared, parse_call_id, unit_of
from tests.sdk.server import SALT, snapshot

HALF = Compared(7, ("quality",))
USERS = [f"user-{number}" for number in range(40)]


@pytest.fixture
def ready(server, stepped, step):
    """A client of a route whose arms are compared, half and half."""
    server.snapshot = snapshot(8, 5_000, compared=HALF)
    client = stepped()
    step(client)
    return client


def sent(server, client):
    """The units that the server hears of, as {(version, generation, hash): sums}."""
    before = len(server.batches)
    assert client.flush()
    return {
        (group.version, group.generation, each.unit): each
        for batch in server.batches[before:]
        for group in batch.units
        for each in group.sums
    }


def version_of(user):
    return "v2" if bucket(SALT, user) < 5_000 else "v1"


def key(user):
    return version_of(user), 7, unit_hash(SALT, user)


def use(client, user, kind=None, **scores):
    with client.get("bot", unit=user).call() as call:
        if kind:
            call.fail(kind)
        for name, value in scores.items():
            call.score(name, value)
    return call


def test_each_unit_is_summed_under_its_hash(server, ready):
    """Calls, failures and scores of a user, by the version that served them and its generation."""
    for user in USERS:
        use(ready, user)
    use(ready, USERS[0], "provider", quality=0.25)
    use(ready, USERS[0], quality=0.75)
    found = sent(server, ready)
    assert set(found) == {key(user) for user in USERS}
    first = found[key(USERS[0])]
    assert (first.call_count, first.error_count) == (3, 1)
    assert first.scores == {"quality": (2, 10_000)}
    assert not ready._recorder.refused_counts()


def test_a_unit_is_no_name(server, ready):
    """What travels is 64 bits salted with the rollout's salt: another rollout, another number."""
    use(ready, "ann@example.org")
    assert ready.flush()
    assert "ann@example.org" not in repr(server.batches)
    assert unit_hash("another salt", "ann@example.org") != unit_hash(SALT, "ann@example.org")


@pytest.mark.parametrize(
    "served",
    [
        pytest.param(snapshot(8), id="one version"),
        pytest.param(snapshot(8, 5_000), id="split, and not compared"),
        pytest.param(snapshot(8, compared=HALF), id="compared, and no longer split"),
    ],
)
def test_nothing_is_summed_unless_arms_are_compared(server, stepped, step, served):
    """Then a process sends what it always did, and its calls' ids name no unit."""
    server.snapshot = served
    client = stepped()
    step(client)
    call = use(client, "user-1", quality=0.5)
    assert sent(server, client) == {}
    assert unit_of(parse_call_id(call.id).random_part) is None


def test_who_was_not_assigned_is_not_compared(server, ready):
    """No unit, no evidence at all, or a unit that somebody else's version was taken for."""
    with ready.get("bot").call():
        pass
    use(ready, USERS[0], "cancelled")
    other = next(user for user in USERS if version_of(user) != version_of(USERS[0]))
    with ready.get("bot", unit=USERS[0]).call(unit=other) as call:
        pass
    assert sent(server, ready) == {}
    assert unit_of(parse_call_id(call.id).random_part) is None
    with ready.get("bot", unit=USERS[0]).call(unit=USERS[0]):
        pass
    assert set(sent(server, ready)) == {key(USERS[0])}


def test_only_scores_that_are_compared_are_sent(server, ready):
    """The others count in their version's sums as always."""
    use(ready, "user-1", quality=1.0, stars=5)
    (found,) = sent(server, ready).values()
    assert found.scores == {"quality": (1, 10_000)}


def test_a_call_that_is_scored_by_its_id_names_its_unit(server, ready):
    """So whoever scores it later, anywhere, scores the unit; it is not summed here as well."""
    with ready.get("bot", unit="user-1").call() as call:
        named = unit_of(parse_call_id(call.id).random_part)
        call.score("quality", 0.5)
    assert named == (7, unit_hash(SALT, "user-1"))
    (found,) = sent(server, ready).values()
    assert (found.call_count, dict(found.scores)) == (1, {})
    assert [late.call for batch in server.batches for late in batch.late_scores] == [call.id]


def test_the_generation_is_that_of_the_choice(server, ready, step):
    """A call that ends after the route moved counts for the stage that chose its version."""
    use_later = ready.get("bot", unit="user-1").call()
    server.deploy(snapshot(9, 9_000, compared=Compared(9, ("quality",))))
    step(ready, 3)
    with use_later:
        pass
    assert set(sent(server, ready)) == {key("user-1")}


def test_a_flush_holds_so_many_sums_and_the_next_one_the_rest(server, ready, monkeypatch):
    """A unit has a sum of calls and one of each score; nothing is sent twice."""
    monkeypatch.setattr(outbox_module, "SUMS_PER_FLUSH_MAX", 10)
    for user in USERS:
        use(ready, user, quality=0.5)
    found = sent(server, ready)
    sizes = [sum(len(g.sums) for g in batch.units) for batch in server.batches if batch.units]
    assert set(found) == {key(user) for user in USERS} and sum(sizes) == 40
    assert max(sizes) == 5


def test_units_are_bounded_while_the_server_is_away(server, ready, monkeypatch):
    """New ones find no room and are counted; those that are held go on."""
    monkeypatch.setattr(outbox_module, "UNITS_HELD_MAX", 5)
    for user in (*USERS[:8], USERS[0]):
        use(ready, user)
    found = sent(server, ready)
    assert set(found) == {key(user) for user in USERS[:5]}
    assert found[key(USERS[0])].call_count == 2
    assert ready._recorder.refused_counts() == {outbox_module.UNITS_LOST: 3}


def test_a_lost_answer_doubles_no_unit(server, ready, step):
    """The same flush again, under the same number, with the same sums."""
    server.lose_answers = True
    use(ready, "user-1")
    step(ready, 3)
    server.lose_answers = False
    step(ready, 70)
    told = [batch for batch in server.batches if batch.units]
    assert len(told) >= 2
    assert all((batch.seq, batch.units) == (told[0].seq, told[0].units) for batch in told)


def test_sums_that_are_never_taken_are_counted(server, ready, step):
    """A server that refuses a report for good loses its units, and hears how many."""
    server.before = lambda request: (422, b"{}", {}) if request.command == "POST" else None
    use(ready, "user-1")
    step(ready, 3)
    assert ready._recorder.refused_counts() == {outbox_module.UNITS_LOST: 1}
