"""Stories in which a planted bug must show: random worlds meet it too rarely."""

from knowngood.sim.plan import OFF, Labels
from knowngood.sim.scenarios import Scenario

OLD, NEW = "v1.9.0", "v2.0.0"
LATENCY = {"triggers": {**OFF, "latency_high": {}}}


def straggler() -> Scenario:
    """One process never takes the new route, and all the others are well on it."""
    story = Scenario(versions=(OLD, NEW), calls_per_s=20)
    story.at("0:00").promote(OLD)
    story.at("1:00").promote(NEW)
    story.at("1:10").error_rate(0.5)
    story.at("1:12").deafen("client-2")
    story.expect("2:30").verified(0)
    return story


def late_reports() -> Scenario:
    """A process reports, after the switch, what it did on the good version long before."""
    story = Scenario(versions=(OLD, NEW), clients=2, calls_per_s=4)
    story.at("0:00").promote(OLD)
    story.at("0:30").cut("client-1")
    story.at("1:00").promote(NEW)
    story.at("1:01").error_rate(0.5)
    story.at("1:18").heal("client-1")
    story.expect("1:40").rolled_back(1)
    return story


def late_switch() -> Scenario:
    """An engine is held between its decision and the apply; the canary's control goes on."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").canary(NEW, 50)
    story.at("1:10").error_rate(0.5, NEW)
    story.at("1:10").stall("30s", writing="rollback.switched")
    story.expect("4:00").rolled_back(1).verified(1)
    return story


def darkness() -> Scenario:
    """Every process is cut off at once."""
    story = Scenario(versions=(OLD,))
    story.at("0:00").promote(OLD)
    story.at("1:00").cut()
    story.expect("2:00").recorded("blind", 1)
    return story


def shared_outage() -> Scenario:
    """The provider fails for the control as much as for its canary."""
    story = Scenario(versions=(OLD, NEW), calls_per_s=40)
    story.at("0:00").promote(OLD)
    story.at("1:00").canary(NEW, 50)
    story.at("2:00").outage(0.4, "3m")
    story.expect("3:00").share(NEW, 50).held("upstream").rolled_back(0)
    return story


def one_bad_deploy_after_another() -> Scenario:
    """Three deploys in a row fail; two automatic rollbacks in an hour are the limit."""
    story = Scenario(
        versions=(OLD, NEW, "v2.1.0", "v2.2.0"),
        policy={"flap": {"cooldown": "30s", "per_prompt_hour": 2, "fleet_hour": 10}},
    )
    story.at("0:00").promote(OLD)
    for minute, version in ((1, NEW), (5, "v2.1.0"), (9, "v2.2.0")):
        story.at(f"{minute}:00").promote(version)
        story.at(f"{minute}:01").error_rate(0.5)
    story.expect("12:00").serving("v2.2.0").rolled_back(2).held("flap")
    return story


def restart_before_a_breach() -> Scenario:
    """An engine begins anew from its checkpoint while a version fails a little, then much."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").promote(NEW)
    story.at("1:05").error_rate(0.03)
    story.at("2:40").stop("2s")
    story.at("2:45").error_rate(0.3)
    story.expect("4:00").rolled_back(1)
    return story


def nothing_to_go_back_to() -> Scenario:
    """The only version fails: people have to know."""
    story = Scenario(versions=(OLD,), ends="8:00")
    story.at("0:00").promote(OLD)
    story.at("1:00").error_rate(0.3)
    return story


def silence_after_a_rollback() -> Scenario:
    """After a rollback nobody calls any more, so nothing can prove that it helped."""
    story = Scenario(versions=(OLD, NEW), ends="10:00")
    story.at("0:00").promote(OLD)
    story.at("1:00").promote(NEW)
    story.at("1:10").error_rate(0.5)
    story.at("1:20").traffic(0)
    return story


def rollback_under_a_hold() -> Scenario:
    """Somebody rolls back while automation is off."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").promote(NEW)
    story.at("1:05").automation_off("1h")
    story.at("1:10").error_rate(0.5)
    story.at("2:00").roll_back()
    story.expect("2:01").serving(OLD)
    return story


def three_times_as_slow() -> Scenario:
    """A new version is right as often as the old one, and takes three times as long."""
    story = Scenario(versions=(OLD, NEW), calls_per_s=20, timed=True, policy=LATENCY, ends="12:00")
    story.at("0:00").promote(OLD)
    story.at("3:00").promote(NEW)
    story.at("3:10").latency(3.0)
    return story


def rejected() -> Scenario:
    """A notifier will never take one of the messages about a rollback."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").promote(NEW)
    story.at("1:10").error_rate(0.5).fault("pager_rejects")
    story.expect("2:00").rolled_back(1)
    return story


def labelled() -> Labels:
    """Half of the calls are judged, most of them late, and many twice."""
    return Labels(share=0.5, delay_ms=10_000, again=0.5)


def corrections() -> Scenario:
    """Labels come late and are corrected."""
    story = Scenario(versions=(OLD,), labels=labelled())
    story.at("0:00").promote(OLD)
    story.expect("2:00").serving(OLD)
    return story
