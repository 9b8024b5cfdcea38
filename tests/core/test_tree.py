"""The decision tree says what the policy in force would do, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.policy import parse
from knowngood.core.tree import TreeNode, condition_words, render_tree, tree

GOLDEN = Path(__file__).parent / "golden" / "tree.txt"


def tree_of(**defaults: Any) -> TreeNode:
    return tree(parse({"defaults": defaults}).for_prompt("support"))


def nodes(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from nodes(child)


def label(root: TreeNode, key: str) -> str:
    return next(node.label for node in nodes(root) if node.key == key)


def keys(root: TreeNode) -> list[str]:
    return [node.key for node in nodes(root)]


def test_tree_of_the_default_policy():
    """The default policy's tree is the article's, with all that the article leaves out."""
    assert render_tree(tree_of()) == GOLDEN.read_text(encoding="utf-8")


def test_keys_are_unique():
    """A page can mark an incident's path by the nodes' keys."""
    assert len(keys(tree_of())) == len(set(keys(tree_of())))


def test_most_severe_comes_first():
    """An operator reads from the worst case down; a severity without triggers is left out."""
    severities = [key for key in keys(tree_of()) if key.startswith("severity/")]
    assert severities == ["severity/critical", "severity/high", "severity/medium"]


@pytest.mark.parametrize(
    ("trigger", "key", "words"),
    [
        ({"when": "error_rate > 7.5%"}, "", "error_high: errors > 7.5% over 5 min"),
        ({"window": "10m"}, "", "error_high: errors > 2% over 10 min"),
        ({"kinds": ["prompt"]}, "", "error_high: errors > 2% of kind prompt over 5 min"),
        ({"dry_run": True}, "", "error_high: errors > 2% over 5 min [dry-run: only recorded]"),
        (
            {"limit": "20m", "who": "ana"},
            "/action",
            "→ ASK ana: roll back at once, or investigate? within 20 min",
        ),
        (
            {"method": "gradual"},
            "/action",
            "→ ASK on-call: roll back gradually, or investigate? within 5 min",
        ),
        (
            {"on_timeout": "rollback"},
            "/unanswered",
            "nobody answers within 5 min → ROLL BACK by itself",
        ),
        ({"action": "alert"}, "/action", "→ ALERT on-call; nothing is changed"),
        (
            {"action": "rollback"},
            "/action",
            "→ ROLL BACK by itself at once (system, within 5 min)",
        ),
        ({"action": "observe", "for": "2h"}, "/persists", "persists → nothing more"),
    ],
)
def test_tree_follows_the_trigger(trigger: dict[str, Any], key: str, words: str):
    """Every part of a trigger that changes what happens is told by its branch."""
    assert label(tree_of(triggers={"error_high": trigger}), f"trigger/error_high{key}") == words


def test_tree_names_dry_run_triggers_among_the_brakes():
    """Whoever wonders why nothing was rolled back finds the trigger under the brakes."""
    root = tree_of(triggers={"error_critical": {"dry_run": True}})
    assert label(root, "brake/dry_run") == "dry-run, by trigger: error_critical"


def test_tree_has_the_four_brakes():
    """There are four brakes, and each of them is visible."""
    brakes = [key for key in keys(tree_of()) if key.startswith("brake/")]
    assert brakes == ["brake/dry_run", "brake/upstream", "brake/flap", "brake/automation_off"]


def test_tree_tells_of_a_long_good_version():
    """A version that was good for long is rolled back by itself only where the policy says so."""
    stale = parse({"prompts": {"support": {"auto_rollback_stale": True}}})
    assert "trigger/error_critical/stale" in keys(tree_of())
    assert "trigger/error_critical/stale" not in keys(tree(stale.for_prompt("support")))


def test_tree_names_the_authors():
    """A failed rollback reaches the people who wrote the prompt."""
    file = parse({"prompts": {"support": {"authors": ["ana", "bo"]}}})
    page = label(tree(file.for_prompt("support")), "rollback/verify/not_recovered")
    assert page == "not recovered → CRITICAL: page on-call and the authors (ana, bo)"


def test_tree_without_triggers():
    """A policy that judges nothing says so."""
    names = parse({}).data["defaults"]["triggers"]
    root = tree_of(triggers=dict.fromkeys(names))
    assert label(root, "yes/none") == "→ there is no trigger: nothing is ever judged"


def test_words_can_be_given():
    """Whoever draws the tree may put conditions into other words."""
    root = tree(parse({}).for_prompt("support"), lambda when: when.text)
    assert label(root, "trigger/quality_high") == "quality_high: quality drop > 20% over 5 min"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("error_rate > 5%", "errors > 5%"),
        ("quality drop > 12.5%", "quality drops > 12.5%"),
        ("score.accuracy below 60%", "accuracy < 0.6"),
        ("latency_p99 > 2.5s", "p99 latency > 2500 ms"),
        ("tokens_per_call increase > 30%", "tokens per call rises > 30%"),
        ("counter.fallback > 3%", "fallback > 3%"),
    ],
)
def test_condition_words(condition: str, words: str):
    """A condition is said with the limit as a person would write it."""
    file = parse(
        {
            "scores": {"accuracy": {"min": 0, "max": 1}},
            "counters": ["fallback"],
            "defaults": {"triggers": {"error_high": {"when": condition}}},
        }
    )
    (trigger,) = [t for t in file.for_prompt("x").triggers if t.name == "error_high"]
    assert condition_words(trigger.when) == words
