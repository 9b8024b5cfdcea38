"""The incident stories that the product promises, on simulated time."""

import pytest

from knowngood.core.model import Steady
from knowngood.sim.plan import OFF, Labels
from knowngood.sim.scenarios import Scenario, StoryFailed, clock_ms

OLD, NEW = "v1.9.0", "v2.0.0"


def deployed(**options) -> Scenario:
    """A good version for a minute, then a new one."""
    story = Scenario(versions=(OLD, NEW, "v2.1.0", "v2.2.0"), **options)
    story.at("0:00").promote(OLD)
    story.at("1:00").promote(NEW)
    return story


def test_bad_deploy_is_rolled_back_and_verified():
    """A version that fails in 11 % of its calls is off the route in seconds, and that is proven."""
    story = deployed()
    story.at("1:11").error_rate(0.11)
    story.expect("1:11").serving(NEW).steady()
    story.expect("1:50").serving(OLD).quarantined(NEW).rolled_back().paged("ROLLBACK", times=2)
    story.expect("2:30").verified().steady().incident(is_open=False).everywhere()
    story.run()


def test_healthy_deploy_is_left_alone():
    """Without a breach nobody is paged and nothing moves, and the version becomes good."""
    story = deployed(policy={"bake": {"for": "2m"}})
    story.expect("5:00").serving(NEW).good(NEW).rolled_back(0).incident(is_open=False)
    story.run()


def test_one_look_is_no_proof():
    """A burst that is over at the next look is not confirmed, and nothing changes."""
    story = deployed(calls_per_s=20, policy={"window": "10s"})
    story.at("1:30").error_rate(0.10)
    story.at("1:32").error_rate(0.0)
    story.expect("2:00").serving(NEW).rolled_back(0).steady()
    story.run()


def test_blind_never_recovers():
    """Processes that fall silent after a switch leave the recovery unproven until they are back."""
    story = deployed(calls_per_s=4)
    story.at("1:10").error_rate(0.5)
    story.at("1:26").cut()
    story.expect("1:26").serving(OLD).verifying()
    story.expect("3:00").verified(0).verifying().paged("blind on")
    story.expect("4:30").verified(0).paged("not verified yet")
    story.at("4:40").heal()
    story.expect("6:00").verified().steady()
    story.run()


def test_control_that_fails_too_is_upstream():
    """When the control of a canary fails in the same way, the rollback is held: people decide."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").canary(NEW, 50)
    story.at("2:00").outage(0.4, "3m")
    story.expect("3:00").share(NEW, 50).held("upstream").paged("held, upstream").rolled_back(0)
    story.run()


def test_provider_that_fails_is_upstream():
    """When another prompt of the same provider fails as well, no version of ours is to blame."""
    story = Scenario(versions=(OLD, NEW), others=("search",))
    story.at("0:00").promote(OLD)
    story.at("0:00", "search").promote(OLD)
    story.at("5:00").promote(NEW)
    story.at("6:00").outage(0.4, "3m")
    story.expect("7:00").serving(NEW).held("upstream").rolled_back(0)
    story.run()


def test_flap_guard_holds_the_third_rollback():
    """Two automatic rollbacks in an hour are enough: the third asks a person."""
    story = Scenario(
        versions=(OLD, NEW, "v2.1.0", "v2.2.0"),
        policy={"flap": {"cooldown": "30s", "per_prompt_hour": 2, "fleet_hour": 10}},
    )
    story.at("0:00").promote(OLD)
    for minute, version in ((1, NEW), (5, "v2.1.0"), (9, "v2.2.0")):
        story.at(f"{minute}:00").promote(version)
        story.at(f"{minute}:01").error_rate(0.5)
    story.expect("4:00").serving(OLD).rolled_back(1).verified(1)
    story.expect("8:00").serving(OLD).rolled_back(2).verified(2)
    story.expect("12:00").serving("v2.2.0").rolled_back(2).held("flap").paged("flap guard", times=1)
    story.run()


def test_automation_off_holds_and_pages_until_it_ends():
    """A hold stops the automatic rollback, says so, and ends by itself."""
    story = deployed()
    story.at("0:50").automation_off("3m")
    story.at("1:10").error_rate(0.3)
    story.expect("2:00").serving(NEW).held("automation_off").waiting_on("brake")
    story.expect("2:00").paged("automation is off", times=1)
    story.expect("4:30").serving(OLD).rolled_back().quarantined(NEW)
    story.run()


@pytest.mark.parametrize("everywhere", [True, False])
def test_manual_rollback_works_while_automation_is_off(everywhere):
    """A person's rollback is never held: not by a hold of the prompt, nor of all prompts."""
    story = deployed()
    story.at("0:50").automation_off("1h", everywhere=everywhere)
    story.at("1:10").error_rate(0.3)
    story.at("2:00").roll_back()
    story.expect("2:01").serving(OLD).rolled_back().quarantined(NEW)
    story.expect("3:00").verified()
    story.run()


def test_manual_rollback_works_under_the_flap_guard():
    """Nor is it held by the flap guard."""
    story = Scenario(
        versions=(OLD, NEW, "v2.1.0"),
        policy={"flap": {"cooldown": "30m", "per_prompt_hour": 1, "fleet_hour": 10}},
    )
    story.at("0:00").promote(OLD)
    for minute, version in ((1, NEW), (4, "v2.1.0")):
        story.at(f"{minute}:00").promote(version)
        story.at(f"{minute}:01").error_rate(0.5)
    story.at("6:00").roll_back()
    story.expect("5:59").serving("v2.1.0").held("flap")
    story.expect("6:01").serving(OLD).rolled_back(2)
    story.run()


def test_manual_rollback_works_under_the_upstream_brake():
    """Nor while everything points upstream."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").canary(NEW, 50)
    story.at("2:00").outage(0.4, "10m")
    story.at("3:00").roll_back()
    story.expect("2:59").held("upstream").rolled_back(0)
    story.expect("3:01").serving(OLD).rolled_back()
    story.run()


def test_target_that_fails_in_the_same_way():
    """If the target fails as well it was upstream: not recovered, escalated, quarantine lifted."""
    story = deployed()
    story.at("1:05").outage(0.5, "10m")
    story.expect("1:30").serving(OLD).quarantined(NEW)
    story.expect("3:30").steady().serving(OLD).candidate(NEW).good(OLD).verified(0)
    story.expect("3:30").recorded("rollback.not_recovered", 1).paged("ROLLBACK FAILED", times=1)
    story.expect("3:30").incident()
    story.run()


# What an engine does around one rollback, by the audit lines that it writes.
DEEDS = (
    "rollback.suspected",
    "rollback.switched",
    "rollback.propagated",
    "rollback.verified",
)


@pytest.mark.parametrize("writing", DEEDS)
@pytest.mark.parametrize("point", ["apply.before", "apply.after"])
def test_crash_around_each_decision(point, writing):
    """An engine that dies around any decision ends where one that lives does: one rollback."""
    story = deployed()
    story.at("1:10").error_rate(0.5)
    story.at("1:10").crash(point, writing=writing)
    story.expect("3:30").serving(OLD).rolled_back(1).quarantined(NEW).verified(1).steady()
    story.expect("3:30").paged("ROLLBACK", times=2).incident(is_open=False).everywhere()
    world = story.run()
    assert world.engines[0].died_count == 1


@pytest.mark.parametrize("point", ["append.before", "append.after", "save.before", "save.after"])
def test_crash_around_the_evidence(point):
    """An engine that dies around its writing of evidence finds the breach all the same, once."""
    story = deployed()
    story.at("1:10").error_rate(0.5)
    story.at("1:12").crash(point)
    story.expect("4:30").serving(OLD).rolled_back(1).verified(1)
    world = story.run()
    assert world.engines[0].died_count == 1


@pytest.mark.parametrize("point", ["notify.before", "notify.after", "sent.after"])
def test_crash_around_a_page(point):
    """An engine that dies around a page still pages, and rolls back once."""
    story = deployed()
    story.at("1:10").error_rate(0.5)
    story.at("1:10").crash(point)
    story.expect("3:30").serving(OLD).rolled_back(1).paged(
        "on-call: support-bot (production): ROLL"
    )
    story.run()


@pytest.mark.parametrize(
    ("fault", "taken"),
    [("pager", 1), ("pager_raises", 1), ("pager_mute", 2), ("pager_rejects", 0)],
)
def test_notifier_that_fails(fault, taken):
    """It is tried again, or given up with a reason; the rollback itself waits for nobody."""
    story = deployed()
    story.at("1:10").error_rate(0.5)
    story.at("1:15").fault(fault)
    story.expect("1:30").serving(OLD).rolled_back(1)
    story.expect("3:00").verified(1)
    story.run()
    story = deployed()
    story.at("1:00").roll_back(OLD).fault(fault)
    story.expect("1:30").paged("rolled back by hand", times=taken)
    story.run()


def test_two_engines_racing():
    """Two engines that see the same breach roll back once, and page once."""
    story = deployed(engines=2)
    story.at("1:10").error_rate(0.5)
    story.expect("2:30").serving(OLD).rolled_back(1).verified(1)
    story.expect("2:30").paged("on-call: support-bot (production): ROLLBACK", times=1)
    story.run()


def test_zombie_engine_changes_nothing():
    """An engine held with a rollback in hand for two minutes finds it stale when it goes on."""
    story = deployed(engines=2)
    story.at("1:10").error_rate(0.5)
    story.at("1:10").stall("2m")
    story.expect("3:00").serving(OLD).rolled_back(1)
    story.at("3:05").promote("v2.1.0")
    story.expect("5:00").serving("v2.1.0").rolled_back(1)
    story.run()


@pytest.mark.parametrize("skew_s", [3_600, -3_600, 30, -30])
def test_clock_that_jumps(skew_s):
    """An engine that restarts with a wrong clock rolls back as ever, and time never goes back."""
    story = deployed()
    story.at("1:20").wall_clock(skew_s).stop("1s")
    story.at("1:30").error_rate(0.5)
    story.expect("2:00").serving(OLD).rolled_back(1).quarantined(NEW)
    story.at("2:30").wall_clock(0).stop("1s")
    story.expect("4:00").verified(1).steady().everywhere()
    world = story.run()
    times = [line.at_ms for line in world.store.log.read(limit=10_000)]
    assert times == sorted(times)


def test_straggler_keeps_a_recovery_open():
    """A live process on the old route keeps the rollback unverified, and is named on a page."""
    story = deployed(calls_per_s=20)
    story.at("1:10").error_rate(0.5)
    story.at("1:12").deafen("client-2")
    story.expect("2:00").serving(OLD).verified(0).waiting_on("clients")
    story.expect("2:40").verified(0).paged("still on an older generation: client-2", times=1)
    story.run()


def test_rollback_by_hand_needs_nobody():
    """With the engine gone, every process cut off and the pager down a person still rolls back."""
    story = deployed()
    story.at("1:10").error_rate(0.5).cut().fault("pager", 3)
    story.at("1:11").stop("1m")
    story.at("1:20").roll_back()
    story.expect("1:20").serving(OLD).rolled_back(1)
    story.at("1:50").heal()
    story.expect("1:55").serving(OLD).verifying()
    story.expect("4:00").everywhere().verified(1).paged("rolled back by hand", times=1)
    story.run()


def test_slow_version_is_asked_about():
    """Twice the latency and more is a question to on-call; the system itself moves nothing."""
    triggers = {**OFF, "latency_high": {}}
    story = deployed(timed=True, calls_per_s=20, policy={"triggers": triggers})
    story.at("3:00").latency(4.0)
    story.expect("2:59").incident(is_open=False)
    story.expect("6:00").serving(NEW).rolled_back(0).incident().paged("on-call: support-bot")
    story.run()


def test_time_outs_are_failures_and_latencies():
    """A call that is given up after its time counts as an error, of that kind, and as slow."""
    story = deployed(timed=True)
    story.at("1:10").error_rate(0.5, kind="timeout")
    story.expect("1:50").serving(OLD).quarantined(NEW).rolled_back()
    world = story.run()
    key = ("production", "support-bot", NEW)
    window = world.store.series.read(key, 0, 2**60)
    assert sum(b.window.errors.get("timeout", 0) for b in window) > 20
    assert max(max(b.window.latency, default=0) for b in window) > 900  # 30 s are bin 951


@pytest.mark.parametrize("bias", [1.0, 5.0])
def test_worse_answers_are_asked_about(bias):
    """Labels that come late, the worse the later, show a drop of quality: a person is asked."""
    labels = Labels(share=0.5, in_time=0.2, delay_ms=15_000, bias=bias)
    triggers = {**OFF, "quality_high": {}}
    story = deployed(labels=labels, calls_per_s=20, policy={"triggers": triggers})
    story.at("2:00").quality_drop(0.6)
    story.expect("1:59").incident(is_open=False)
    story.expect("5:00").serving(NEW).rolled_back(0).incident().paged("product-owner: support-bot")
    story.run()


def test_storm_of_retries_is_one_failure():
    """Whoever fails and tries again ten times in a second has failed once."""
    story = deployed(calls_per_s=4)
    story.at("0:10").retries(10)
    story.at("1:10").error_rate(0.02)
    story.expect("4:00").serving(NEW).rolled_back(0)
    story.run()


def test_burst_of_healthy_traffic_is_no_news():
    """Fifty times the traffic for some seconds changes no verdict."""
    story = deployed(calls_per_s=4)
    story.at("1:30").traffic(200)
    story.at("1:40").traffic(4)
    story.expect("3:00").serving(NEW).rolled_back(0).incident(is_open=False).everywhere()
    story.run()


def test_scripted_canary_ends_at_its_breach():
    """A script that raises a share step by step is stopped by the rollback, and stays stopped."""
    story = Scenario(versions=(OLD, NEW), calls_per_s=40)
    story.at("0:00").promote(OLD)
    story.at("1:00").script(NEW, ("1s", 1), ("30s", 5), ("60s", 25), ("2m", 100))
    story.at("2:10").error_rate(0.3, NEW)
    story.expect("1:45").share(NEW, 5)
    story.expect("2:05").share(NEW, 25)
    story.expect("2:55").serving(OLD).quarantined(NEW).rolled_back(1)
    story.expect("4:00").serving(OLD).rolled_back(1).verified(1)
    story.run()


def test_scripted_canary_that_is_well_serves_everybody():
    """Without a breach the script gets to its end."""
    story = Scenario(versions=(OLD, NEW), calls_per_s=40)
    story.at("0:00").promote(OLD)
    story.at("1:00").script(NEW, ("1s", 1), ("30s", 5), ("60s", 25), ("90s", 100))
    story.expect("4:00").serving(NEW).rolled_back(0)
    story.run()


def test_staging_wakes_nobody():
    """A breach in staging is recorded and rolled back there; production and people rest."""
    story = Scenario(versions=(OLD, NEW), staging=2, calls_per_s=20)
    story.at("0:00").promote(OLD)
    story.at_staging("0:00").promote(OLD)
    story.at_staging("1:00").promote(NEW)
    story.at_staging("1:10").error_rate(0.5)
    story.expect("3:00").serving(OLD).rolled_back(0).incident(is_open=False)
    world = story.run()
    staging = world.state("support-bot", "staging")
    assert staging.route is not None and staging.route.control.version == OLD
    assert isinstance(staging.phase, Steady)
    kinds = {line.kind for line in world.store.log.read("staging", limit=1_000)}
    assert {"rollback.switched", "rollback.verified"} <= kinds
    assert not world.delivered


def test_closed_processes_are_not_missed():
    """Processes that end properly leave nobody blind."""
    story = Scenario(versions=(OLD,))
    story.at("0:00").promote(OLD)
    story.at("1:00").close()
    story.expect("3:00").recorded("blind", 0).steady()
    story.run()


def test_quarantined_version_is_no_target():
    """What was rolled back is not gone back to, even when it served more recently."""
    story = deployed()
    story.at("1:01").error_rate(0.5)
    story.expect("2:20").quarantined(NEW).verified()
    story.at("12:30").promote("v2.1.0")
    story.at("12:31").error_rate(0.5)
    story.expect("14:00").serving(OLD).rolled_back(2).quarantined("v2.1.0")
    story.run()


def test_a_story_that_goes_otherwise_fails_with_its_timeline():
    """The report names the moment, the expectation, and everything that happened."""
    story = deployed()
    story.expect("0:30").serving(NEW)
    with pytest.raises(StoryFailed, match=r"0:30 support-bot: expected serving v2\.0\.0") as told:
        story.run()
    assert "route.moved: deploy" in str(told.value)


def test_times_are_written_as_on_a_clock():
    """Minutes and seconds, with hours when needed."""
    assert [clock_ms(t) for t in ("0:31", "1:02:30")] == [31_000, 3_750_000]
    with pytest.raises(ValueError, match="m:ss"):
        clock_ms("31")
