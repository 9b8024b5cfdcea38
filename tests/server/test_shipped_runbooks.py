"""The runbooks that come with knowngood: each is rehearsed in the situation that it is for."""

import re

import pytest
from typer.main import get_command

from knowngood.cli.app import app
from knowngood.core.runbook import StepKind
from knowngood.core.runbook_build import Known
from knowngood.core.runbook_pick import SHIPPED, table_of
from knowngood.server.policy_file import load_policy
from knowngood.server.runbook_file import lint, take_apart
from knowngood.server.runbooks import SHIPPED_FOLDER, known_of, shipped
from tests.server.world import PROMPT
from tests.server.world import world as new_world

NAMES = sorted(shipped().runbooks)
VERBS = getattr(get_command(app), "commands", {})
FAST = "policy: 1\ndefaults: {flap: {cooldown: 10m, per_prompt_hour: 1}}\n"


@pytest.fixture
def start(tmp_path):
    worlds = []

    def begin(policy="policy: 1\n"):
        file = tmp_path / "policy.yaml"
        file.write_text(policy, encoding="utf-8")
        worlds.append(new_world(policy=str(file)))
        return worlds[-1].__enter__()

    yield begin
    for context in worlds:
        context.__exit__(None, None, None)


def rehearsed(world, name, environment="production"):
    """What each step of a rehearsal says, by step."""
    incident = world.state(environment).incident
    return rehearsed_of(world, name, incident.id if incident else "")


def rehearsed_of(world, name, incident):
    """The same of one incident."""
    where = {"incident": incident} if incident else {"prompt": PROMPT}
    made = world.post("/api/runbook-runs", runbook=name, dry_run=True, **where)
    return {step["step"]: (step["mark"], step["words"]) for step in made["steps"]}


def marks(found):
    return {name: mark for name, (mark, _) in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_it_lints_clean(name):
    """With every verb of its commands and every link in it."""
    known = known_of(load_policy(None), strict=True)
    known = Known(known.scores, known.counters, known.triggers, tuple(VERBS))
    text = shipped().get(name).text
    runbook, problems = lint(text, known, SHIPPED_FOLDER)
    assert runbook is not None and not problems


@pytest.mark.parametrize("name", NAMES)
def test_its_commands_exist_to_the_option(name):
    """What is typed at night is typed as it stands there: no option that does not exist."""
    source, _ = take_apart(shipped().get(name).text)
    lines = [
        line
        for section in source.sections
        for fence in section.fences
        if fence.language == "sh"
        for line in fence.text.splitlines()
    ]
    for line in lines:
        words = re.sub(r"'[^']*'", "x", line.replace("{{env}}", "--env staging")).split()
        assert words[0] == "knowngood"
        command = VERBS[words[1]]
        if inner := getattr(command, "commands", None):
            command = inner[words[2]]
        known = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_there_are_nine_and_pages_know_them():
    """What pages name is what the texts say that they are for."""
    assert len(NAMES) == 9
    said = table_of([(k.runbook.id, k.runbook.triggers) for k in shipped().runbooks.values()])
    assert said == dict(SHIPPED)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short(name):
    """Nobody reads more than a screen a step, nor follows more than eight, at three o'clock."""
    runbook = shipped().get(name).runbook
    assert len(runbook.steps) <= 8
    assert all(step.kind is not StepKind.READ for step in runbook.steps)
    assert max(len(step.prose.splitlines()) for step in runbook.steps) <= 20


def test_error_spike(start):
    """2 to 5 % of errors, a good version: confirmed, a target, would roll back to it."""
    world = start()
    world.route_two()
    world.live(20, "v2.0.0", 97, 3)
    found = rehearsed(world, "error-spike")
    assert marks(found) == {
        "confirm": "passed",
        "target": "passed",
        "rollback": "would_do",
        "propagated": "passed",
        "verify": "would_wait",
        "tell": "would_do",
    }
    assert found["rollback"][1] == "rollback customer-support version v1.9.0: would_switch"


def test_error_spike_after_the_system_has_rolled_back(start):
    """The rollback is done already and is not done again; the recovery is waited for."""
    world = start()
    world.route_two()
    world.live(12, "v2.0.0", 10, 10)
    assert world.state().route.control.version == "v1.9.0"
    found = rehearsed(world, "error-spike")
    assert found["rollback"][1] == "v2.0.0 is off the route already; nothing was changed"
    assert found["verify"] == ("would_wait", "the rollback to v1.9.0 is not verified yet")


def test_accuracy_drop(start):
    """Half the quality of the baseline: confirmed; the baseline test says what it knows."""
    world = start()
    world.push("v1.9.0")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    for _ in range(12):
        world.report("v1.9.0", 100, scores={"quality": {"90": 50, "88": 50}})
        world.tick()
    world.promote("v2.0.0")
    for _ in range(12):
        world.report("v2.0.0", 100, scores={"quality": {"45": 50, "43": 50}})
        world.tick()
    found = rehearsed(world, "accuracy-drop")
    assert found["confirm"][0] == "passed" and "quality" in found["confirm"][1]
    assert found["baseline"] == ("unsure", "v1.9.0 has no evaluation by accuracy")
    assert found["rollback"][1] == "rollback customer-support version v1.9.0: would_switch"
    assert marks(found)["approve"] == "would_ask"
    body = {"prompt": PROMPT, "version": "v1.9.0", "suite": "accuracy", "because": "test"}
    for passed, mark in ((74, "breach"), (76, "passed")):
        world.post("/api/evaluations", 201, passed=passed, failed=100 - passed, **body)
        assert marks(rehearsed(world, "accuracy-drop"))["baseline"] == mark


def test_latency_doubled(start):
    """Three times the p99: confirmed, and a person decides."""
    world = start()
    world.push("v1.9.0")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    for _ in range(12):
        world.report("v1.9.0", 100, latency={"523": 100})
        world.tick()
    world.promote("v2.0.0")
    for _ in range(12):
        world.report("v2.0.0", 100, latency={"640": 100})
        world.tick()
    found = rehearsed(world, "latency-doubled")
    assert found["confirm"][0] == "passed" and "latency" in found["confirm"][1]
    assert marks(found)["decide"] == "would_ask"
    assert marks(found)["rollback"] == "would_do"


def test_rollback_failed(start):
    """The target is ill as well: what did not recover says so, and hands go off."""
    world = start()
    world.route_two()
    world.post("/api/rollback", prompt=PROMPT, because="test")
    world.live(75, "v1.9.0", 10, 10)
    assert "rollback.not_recovered" in world.kinds()
    found = rehearsed(world, "rollback-failed")
    assert marks(found) == {
        "call": "would_ask",
        "upstream": "would_ask",
        "hands-off": "would_do",
        "another": "would_ask",
        "verify": "would_wait",
        "hands-on": "would_do",
        "tell": "would_do",
    }
    assert "did not recover" in found["verify"][1]


def test_target_bad(start):
    """The only version there ever was: no target, until somebody vouches for one."""
    world = start()
    world.push("v1.9.0")
    world.push("v2.0.0")
    world.promote("v1.9.0")
    found = rehearsed(world, "target-bad")
    assert found["target"][0] == "breach" and "no known-good version" in found["target"][1]
    assert found["rollback"][0] == "failed"
    world.post("/api/vouch", prompt=PROMPT, version="v2.0.0", because="served well")
    found = rehearsed(world, "target-bad")
    assert found["vouched"] == ("passed", "v2.0.0 is known good")
    assert found["rollback"][0] == "would_do"


def test_metrics_blind(start):
    """Silence: not reporting, and a person's rollback needs no metrics."""
    world = start()
    world.route_two()
    world.live(5, "v2.0.0", 100)
    world.tick(30)
    found = rehearsed(world, "metrics-blind")
    assert found["back"][0] == "breach" and "fell silent" in found["back"][1]
    assert found["rollback"][0] == "would_do"
    assert found["reporting"][0] == "would_wait"
    world.live(3, "v2.0.0", 100)
    assert marks(rehearsed(world, "metrics-blind"))["reporting"] == "passed"


OTHERS = ("faq", "search")


def with_others(world):
    """Three prompts of one provider, each with a version that came today."""
    for prompt in (PROMPT, *OTHERS):
        for version in ("v1.9.0", "v2.0.0"):
            content = {"text": f"You are {prompt} {version}.", "config": {"provider": "acme"}}
            path = f"/api/prompts/{prompt}/versions"
            world.post(path, 201, version=version, **content)
            order = {"version": version, "now": True, "override": ["in_progress", "soak"]}
            world.post("/api/promote", prompt=prompt, because="deploy", **order)
        for _ in range(3):
            serve(world, ())


def until(world, failing, holds):
    """Calls go on, and fail, until it holds."""
    for _ in range(60):
        if holds():
            return
        serve(world, failing)
    raise AssertionError("it never came to that")


def serve(world, failing, kind="provider"):
    """A second of calls of every prompt, on what its route says."""
    rows = []
    for prompt in (PROMPT, *OTHERS):
        route = world.runtime.store.states.get("production", prompt).route
        for arm in route.arms if route else ():
            bad = 4 if prompt in failing and arm.version == "v2.0.0" else 0
            counts = {"ok": 97 if bad else 100, "errors": {kind: bad} if bad else {}}
            rows.append({"prompt": prompt, "version": arm.version, "ago_ms": 0, **counts})
    world.post("/api/observations", **world.batch(rows=rows))
    world.tick()


def incidents(world):
    """The open incident of each prompt that has one."""
    found = {p: world.runtime.store.states.get("production", p).incident for p in (PROMPT, *OTHERS)}
    return {prompt: incident for prompt, incident in found.items() if incident}


def switches(world):
    """Why each prompt was rolled back that was."""
    lines = world.get("/api/audit", limit=500)["entries"]
    return {
        line["prompt"]: line["because"] for line in lines if line["kind"] == "rollback.switched"
    }


def test_provider_outage(start):
    """Every prompt of it fails: no step of it rolls back, for none of them."""
    world = start()
    with_others(world)
    everything = (PROMPT, *OTHERS)
    until(world, everything, lambda: set(incidents(world)) == set(everything))
    for incident in incidents(world).values():
        shown = world.get("/api/runbooks/provider-outage", incident=incident.id)
        assert shown["values"]["provider"] == "acme"
        found = rehearsed_of(world, "provider-outage", incident.id)
        assert marks(found)["provider"] == "would_ask"
        assert all("rollback" not in words for _, words in found.values())
        assert marks(found)["over"] == "would_wait"


def test_several_prompts(start, capsys):
    """Related prompts fail while an unrelated one of the same provider is well: a cascade.

    They go back by themselves where a version came today, and the page names this runbook; whoever
    leads is told what fails together, and takes back what is still there.
    """
    world = start(f"policy: 1\nrelated: [[{PROMPT}, faq]]\n")
    with_others(world)
    until(world, (PROMPT, "faq"), lambda: set(incidents(world)) == {PROMPT, "faq"})
    for prompt, other in ((PROMPT, "faq"), ("faq", PROMPT)):
        incident = incidents(world)[prompt]
        shown = world.get("/api/runbooks/several-prompts", incident=incident.id)
        assert shown["values"]["related"] == other and shown["values"]["good_version"] == "v1.9.0"
        found = rehearsed_of(world, "several-prompts", incident.id)
        serves = world.runtime.store.states.get("production", prompt).route.weight_bp("v2.0.0")
        words = "v1.9.0: would_switch" if serves else "off the route already"
        assert found["rollback"][0] == "would_do" and words in found["rollback"][1]
        assert marks(found)["others"] == "would_ask"
    until(world, (PROMPT, "faq"), lambda: bool(switches(world)))
    for prompt, because in switches(world).items():
        other = "faq" if prompt == PROMPT else PROMPT
        assert f"together with {other}, while search is well" in because
        page = f"runbook show several-prompts --incident production/{prompt}"
        assert page in capsys.readouterr().out
    assert "search" not in incidents(world)


def test_flapping(start):
    """A second breach within the hour is held: still confirmed, a person puts it on one version."""
    world = start(FAST)
    world.route_two()
    world.live(12, "v2.0.0", 10, 10)
    world.live(10, "v1.9.0", 100)
    assert "rollback.verified" in world.kinds()
    world.promote("v2.0.0", override=["quarantined", "in_progress"])
    world.live(12, "v2.0.0", 10, 10)
    assert "rollback.held" in world.kinds()
    found = rehearsed(world, "flapping")
    assert found["confirm"][0] == "passed"
    assert found["rollback"][1] == "rollback customer-support version v1.9.0: would_switch"
    assert marks(found)["hold"] == "would_do"
