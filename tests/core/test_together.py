"""Who goes back with whom: judged from states alone, however releases overlap."""

from dataclasses import replace

from knowngood.core.model import Hold, Observed, Partner
from knowngood.core.release import Member, Release
from knowngood.core.steps.case import Case
from knowngood.core.steps.together import Back, back_together, going
from tests.core.build import DAY, DEFAULT, HOUR, NOW, PROMPT, entry, state

SPRING = Release("spring", (Member(PROMPT, "v2"), Member("faq", "v2")))
SUMMER = Release("summer", (Member("faq", "v3"), Member("mail", "v2")))


def part(prompt, *ledger, **more):
    """A prompt's state, with a ledger of its own."""
    return replace(state(*ledger, **more), prompt=prompt)


def good(version, routed=-2 * DAY):
    return entry(version, "good", routed)


def of(release, version, standing="candidate"):
    """A version that was promoted with a release an hour ago."""
    return replace(entry(version, standing, -HOUR), release=release)


LEAD = part(PROMPT, "v2", good("v1"), of(SPRING, "v2"))
FAQ = part("faq", "v2", good("v1"), of(SPRING, "v2"))


def case(*partners, lead=LEAD):
    """A look at the lead; `partners` are states or what is known of them."""
    known = tuple(p if isinstance(p, Partner) else Partner(p) for p in partners)
    return Case(lead, Observed(NOW, partners=known), DEFAULT, (), NOW)


def found(look, automatic=True):
    """Where each partner goes, None for those that stay."""
    return {each.prompt: each.target for each in going(look, "v1", automatic=automatic)}


def test_each_goes_to_its_own_newest_good_version():
    """Which need not have the same name."""
    faq = part("faq", "v2", good("v0", -9 * DAY), good("v7"), of(SPRING, "v2"))
    assert found(case(faq)) == {"faq": "v7"}


def test_an_unfit_target_is_passed_over_and_named_if_it_was_the_only_one():
    """What an evaluation speaks against is no way back."""
    (only,) = going(case(Partner(FAQ, {"v1": "accuracy 20%"})), "v1", automatic=True)
    assert only.target is None and "v1 (accuracy 20%)" in only.why
    two = part("faq", "v2", good("v0", -9 * DAY), good("v1"), of(SPRING, "v2"))
    assert found(case(Partner(two, {"v1": "accuracy 20%"}))) == {"faq": "v0"}


def test_automation_that_is_off_stops_the_system_and_no_person():
    """For as long as it lasts."""
    held = replace(FAQ, automation=Hold(NOW + 1_000, "a demo", "eve"))
    assert found(case(held)) == {"faq": None}
    assert found(case(held), automatic=False) == {"faq": "v1"}
    over = replace(FAQ, automation=Hold(NOW, "a demo", "eve"))
    assert found(case(over)) == {"faq": "v1"}


def test_what_a_partner_takes_off_takes_its_own_release_along():
    """A newer release is on trial above it: it goes too, and with it its other half."""
    faq = part("faq", "v2", good("v1"), of(SPRING, "v2"), of(SUMMER, "v3"), trial=("v3", 500))
    mail = part("mail", "v2", good("v1"), of(SUMMER, "v2"))
    other = part("other", "v2", good("v1"), of(Release("else", ()), "v2"))
    assert found(case(faq, mail, other)) == {"faq": "v1", "mail": "v1"}


def test_what_stays_on_the_route_takes_nobody_along():
    """Only the newer of two releases goes: whoever serves the older one stays."""
    lead = part(PROMPT, "v1", of(SPRING, "v1", "good"), of(SUMMER, "v2"), trial=("v2", 500))
    assert found(case(FAQ, lead=lead)) == {}


def test_the_one_that_stays_is_told_once():
    """Again only when its route has moved since."""
    back = Back("it fails", automatic=True)
    alone = part("faq", "v2", of(SPRING, "v2"))
    (change,) = back_together(case(alone), "v1", back).changes
    kinds = [type(action).__name__ for action in change.actions]
    assert kinds == ["Told", "Record", "Notify"]
    told = replace(alone, told=("left_behind:spring",))
    assert back_together(case(told), "v1", back).changes == ()


def test_a_target_that_is_a_part_of_what_another_leaves_is_said():
    """The other's part of the older release is not proven: half of it stays, and people hear so."""
    lead = part(PROMPT, "v2", of(SPRING, "v2", "good"), of(SUMMER, "v3"), trial=("v3", 500))
    faq = part("faq", "v2", good("v1"), of(SPRING, "v2"), of(SUMMER, "v3"), trial=("v3", 500))
    along = back_together(case(faq, lead=lead), "v2", Back("it fails", automatic=True))
    assert [each.target for each in along.going] == ["v1"]
    kinds = [type(action).__name__ for action in along.actions]
    assert kinds == ["Record", "Told", "Record", "Notify"]
    proven = part("faq", "v2", of(SPRING, "v2", "good"), of(SUMMER, "v3"), trial=("v3", 500))
    along = back_together(case(proven, lead=lead), "v2", Back("it fails", automatic=True))
    assert len(along.actions) == 1
