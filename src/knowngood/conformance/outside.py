"""The laws of what other systems say."""

from dataclasses import replace

from knowngood.conformance.examples import AWKWARD, NOW_MS
from knowngood.core.outside import AlertStatus, OutsideAlert
from knowngood.ports import Store

HOUR_MS = 3_600_000
FIRING = OutsideAlert(
    source="alertmanager",
    key="a1@2026",
    status=AlertStatus.FIRING,
    began_ms=NOW_MS - 1_000,
    summary="The answers are empty",
    labels={"prompt": "cs", "odd": AWKWARD},
    prompt="cs",
    environment="production",
    url="https://example.com/a1",
    digest="d" * 64,
    at_ms=NOW_MS,
)
RESOLVED = replace(
    FIRING, status=AlertStatus.RESOLVED, ended_ms=NOW_MS + 4_000, at_ms=NOW_MS + 5_000
)


def shown(store: Store, since_ms: int = NOW_MS) -> list[OutsideAlert]:
    return store.outside.of("production", "cs", since_ms)


class OutsideConformance:
    """Other systems' alerts, and what is taken once."""

    def test_everything_of_an_alert_survives(self, store: Store) -> None:
        """With any string in its labels, its key and its summary."""
        given = replace(FIRING, key=AWKWARD, summary=AWKWARD)
        (news,) = store.outside.record([given], "r1")
        (kept,) = shown(store)
        assert kept == news == replace(given, id=kept.id, seen_ms=NOW_MS)

    def test_only_news_is_written_down(self, store: Store) -> None:
        """A repeat is no second alert; the end is news once."""
        later = replace(FIRING, at_ms=NOW_MS + HOUR_MS)
        assert [len(store.outside.record([each], "r1")) for each in (FIRING, later)] == [1, 0]
        assert [alert.seen_ms for alert in shown(store)] == [NOW_MS + HOUR_MS]
        ended = [len(store.outside.record([RESOLVED], "r1")) for _ in range(2)]
        assert ended == [1, 0]
        assert [alert.status for alert in shown(store)] == [AlertStatus.RESOLVED]
        lines = store.log.read("production", "cs")
        assert [line.kind for line in lines] == ["evidence.received"] * 2
        assert [line.detail["status"] for line in lines] == ["firing", "resolved"]
        assert lines[0].policy_revision == "r1" and lines[0].detail["sha256"] == "d" * 64

    def test_in_one_message_an_alert_may_come_twice(self, store: Store) -> None:
        """Its beginning and its end, in their order."""
        assert len(store.outside.record([FIRING, RESOLVED, RESOLVED], "")) == 2
        assert len(shown(store)) == 1

    def test_what_was_overtaken_by_its_end_does_not_begin_anew(self, store: Store) -> None:
        """Unless it begins later than that."""
        store.outside.record([RESOLVED], "")
        assert not store.outside.record([replace(FIRING, at_ms=NOW_MS + 9_000)], "")
        again = replace(FIRING, began_ms=NOW_MS + 8_000, at_ms=NOW_MS + 9_000)
        assert len(store.outside.record([again], "")) == 1
        assert [alert.began_ms for alert in shown(store)] == [NOW_MS + 8_000]

    def test_alerts_of_no_prompt_are_kept_without_history(self, store: Store) -> None:
        """There is no prompt that the line could belong to."""
        store.outside.record([replace(FIRING, prompt="", environment="")], "")
        assert store.log.read() == [] and shown(store) == []

    def test_what_is_shown(self, store: Store) -> None:
        """The newest first: what fires and was heard of within a day, and what ended since."""
        other = replace(FIRING, key="b2", began_ms=NOW_MS + 1, at_ms=NOW_MS + 1)
        elsewhere = replace(FIRING, key="c3", environment="staging")
        store.outside.record([FIRING, other, elsewhere], "")
        assert [alert.key for alert in shown(store)] == ["b2", "a1@2026"]
        assert [a.key for a in store.outside.of("production", "cs", NOW_MS, limit=1)] == ["b2"]
        store.outside.record([RESOLVED], "")
        assert len(shown(store, NOW_MS + 5_000)) == 2
        assert [alert.key for alert in shown(store, NOW_MS + 5_001)] == ["b2"]
        assert shown(store, NOW_MS + 24 * HOUR_MS + 2) == []

    def test_what_is_taken_once_is_not_taken_twice(self, store: Store) -> None:
        """By source and key, whatever the key is made of."""
        outside = store.outside
        assert not outside.has_taken("slack", AWKWARD)
        taken = [outside.take_once("slack", AWKWARD, NOW_MS + n) for n in range(2)]
        assert taken == [True, False] and outside.has_taken("slack", AWKWARD)
        assert outside.take_once("pagerduty", AWKWARD, NOW_MS)

    def test_old_things_are_forgotten(self, store: Store) -> None:
        """Each by its own age."""
        outside = store.outside
        outside.record([FIRING], "")
        outside.take_once("slack", "x", NOW_MS)
        assert outside.forget(NOW_MS, NOW_MS) == 0
        assert outside.forget(NOW_MS, NOW_MS + 1) == 1 and not outside.has_taken("slack", "x")
        assert outside.forget(NOW_MS + 1, NOW_MS) == 1 and shown(store) == []
        assert len(store.log.read("production", "cs")) == 1
