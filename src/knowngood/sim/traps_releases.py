"""Stories in which a planted bug of releases must show."""

from knowngood.core.model import MoveRoute, Record, SetRollout, Stand, Standing, whole
from knowngood.core.release import Member, Release
from knowngood.sim.releases import promote
from knowngood.sim.scenarios import Scenario
from knowngood.sim.traps_rollouts import NEW, OLD, RULES

BOT, FAQ = "support-bot", "faq"
SPRING = Release("spring", (Member(BOT, NEW), Member(FAQ, NEW)))


def released(*, now: bool = False) -> Scenario:
    """Two prompts with a good version for a minute, then a release of a new one each."""
    story = Scenario(BOT, (OLD, NEW), others=(FAQ,), calls_per_s=60.0, policy=RULES)
    for prompt in (BOT, FAQ):
        story.at("0:00", prompt).promote(OLD)
    story.world.store.releases.put(SPRING)
    story.at("1:00").do(lambda: promote(story.world.person, SPRING, now=now))
    return story


def one_that_breaks() -> Scenario:
    """One of the two fails: both go back."""
    story = released()
    story.at("1:30", FAQ).error_rate(0.7, NEW)
    for prompt in (BOT, FAQ):
        story.expect("2:10", prompt).serving(OLD).quarantined(NEW).no_rollout()
    return story


def gradual_release() -> Scenario:
    """A release is rolled back gently: it goes down as one."""
    story = released(now=True)
    story.at("1:10").give_way()
    for prompt in (BOT, FAQ):
        story.expect("1:40", prompt).giving_way(NEW, 50)
        story.expect("2:50", prompt).serving(OLD).no_rollout()
    return story


def release_that_is_paused() -> Scenario:
    """A person pauses one of the two, and lets it go on: both stay, and both go on."""
    story = released()
    story.at("1:05", FAQ).pause()
    for prompt in (BOT, FAQ):
        story.expect("1:50", prompt).climbing(NEW, 10).paused(by="ann")
    story.at("1:55").resume()
    for prompt in (BOT, FAQ):
        story.expect("2:30", prompt).climbing(NEW, 50)
    return story


def release_that_climbs() -> Scenario:
    """Nothing is wrong with it: both are on the same stage at every moment."""
    story = released()
    for prompt in (BOT, FAQ):
        story.expect("1:10", prompt).climbing(NEW, 10)
        story.expect("1:35", prompt).climbing(NEW, 50)
    return story


def target_of_one_that_fails() -> Scenario:
    """What one of them goes back to fails: both are paused, and one person resumes both."""
    story = released(now=True)
    story.at("1:10").give_way()
    story.at("1:15", FAQ).error_rate(0.7, OLD)
    for prompt in (BOT, FAQ):
        story.expect("2:30", prompt).giving_way(NEW, 75).paused(by="system")
    return story


def abort_when_one_is_through() -> Scenario:
    """The bake of one is over; somebody aborts the other: refused, half of it would stay."""
    story = released()
    person = story.world.person

    def end_bake() -> None:
        state = story.world.state(BOT)
        line = Record("version.good", "we are sure", {"version": NEW})
        done = (MoveRoute(whole(NEW)), SetRollout(None), Stand(NEW, Standing.GOOD, "sure"), line)
        story.world.store.states.apply(person.changes(state, done), story.world.clock_ms)

    story.at("1:03").skip()
    story.at("1:06").skip()
    story.at("1:10").do(end_bake)
    story.at("1:15", FAQ).abort()
    story.expect("1:20", BOT).serving(NEW)
    story.expect("1:20", FAQ).share(NEW, 95)
    return story


def one_that_cannot_go_back() -> Scenario:
    """The one has nothing to go back to, the other fails and goes; people hear of both."""
    story = released()
    person = story.world.person

    def forget() -> None:
        state = story.world.state(FAQ)
        ill = (Stand(OLD, Standing.CANDIDATE, "who knows"), Record("version.doubted", "who knows"))
        story.world.store.states.apply(person.changes(state, ill), story.world.clock_ms)

    story.at("1:10").do(forget)
    story.at("1:30", BOT).error_rate(0.7, NEW)
    story.expect("2:10", BOT).serving(OLD).quarantined(NEW)
    story.expect("2:10", FAQ).paused(by="system").paged("left behind by the release")
    return story
