"""The policy in force: what holds for a prompt, where each value comes from, and what it means now.

A value comes from the last layer that changed it: knowngood's own defaults, the file's `defaults`,
or an entry under `prompts:` that matches.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from knowngood.core.explain import duration
from knowngood.core.look import age_ms, alert_rules
from knowngood.core.model import Response, State
from knowngood.core.policy import DEFAULT_POLICY, PolicyFile, warnings
from knowngood.core.policy_build import is_glob, matching, merge_prompt
from knowngood.core.rules import AlertRule, PromptPolicy, Trigger
from knowngood.core.tree import TreeNode, condition_words, tree
from knowngood.server.desk import Desk
from knowngood.server.separable import of_prompt

OURS = "knowngood"  # the layer of what nobody has set
FILE = "defaults"
ARROW = "→"
PROMPTS_NAMED = 20  # of those that an entry matches; the rest is counted
FOR_ALL = ("scores", "counters", "related", "audiences")  # of the file, beside what prompts have


def in_force(desk: Desk, environment: str, name: str | None, now_ms: int) -> dict[str, Any]:
    """What holds for a prompt, or by default; for a prompt also what that means at its age now.

    Raises UnknownEnvironment or UnknownPrompt.
    """
    desk.check_environment(environment)
    file = desk.policy
    state = desk.state(environment, name) if name is not None else None
    # No prompt of this name can exist, so nothing under `prompts:` but `*` applies to it.
    entries = file.entries_of(name or "")
    policy = file.resolve(entries)
    merged = merge_prompt(file.data, entries)
    return {
        "prompt": name,
        "environment": environment,
        "revision": file.revision,
        "entries": list(entries),
        "triggers": [_trigger(trigger) for trigger in policy.triggers],
        "tree": node_data(tree(policy)),
        "sections": _sections(file, entries),
        "text": text_of({**merged, **{key: file.data[key] for key in FOR_ALL if file.data[key]}}),
        "json": json.dumps(merged, indent=2, sort_keys=True, ensure_ascii=False),
        "warnings": _warnings(file, entries if name is not None else None),
        "ages": _ages(state, policy, now_ms),
        "not_separable": list(of_prompt(desk, file, state)) if state is not None else [],
    }


def overrides(desk: Desk) -> list[dict[str, Any]]:
    """Each entry under `prompts:`, with the prompts that it matches."""
    known = desk.store.registry.prompts()
    found = []
    for key, sections in desk.policy.data["prompts"].items():
        matched = [name for name in known if matching((key,), name)]
        found.append(
            {
                "key": key,
                "is_glob": is_glob(key),
                "says": [path for path, _ in _leaves("", sections)],
                "prompts": matched[:PROMPTS_NAMED],
                "prompts_count": len(matched),
            }
        )
    return found


def text_of(data: Mapping[str, Any]) -> str:
    """Policy data as the YAML that a file would hold."""
    return yaml.safe_dump(
        json.loads(json.dumps(data)), sort_keys=False, allow_unicode=True, width=96
    )


# --- The tree


def node_data(node: TreeNode) -> dict[str, Any]:
    """The tree as nested data: a node's label, and its condition and its response apart."""
    condition, arrow, response = node.label.partition(ARROW)
    return {
        "key": node.key,
        "label": node.label,
        "condition": condition.strip(),
        "response": response.strip() if arrow else "",
        "children": [node_data(child) for child in node.children],
    }


def _trigger(trigger: Trigger) -> dict[str, Any]:
    return {
        "name": trigger.name,
        "when": condition_words(trigger.when),
        "kinds": list(trigger.kinds),
        "window": duration(trigger.window_ms),
        "severity": trigger.severity.value,
        "action": trigger.action.value,
        "observes": duration(trigger.for_ms) if trigger.for_ms is not None else None,
        "then": trigger.then.value if trigger.then else None,
        "who": trigger.who,
        "limit": duration(trigger.limit_ms) if trigger.limit_ms is not None else None,
        "method": trigger.method.value,
        # What only alerts moves nothing, in whatever way.
        "moves": (trigger.then or trigger.action) is not Response.ALERT,
        "on_timeout": trigger.on_timeout,
        "dry_run": trigger.dry_run,
    }


# --- Where values come from


def _sections(file: PolicyFile, entries: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every value that holds, by section, with the layer that it comes from."""
    origins = _origins(file, entries)
    sections: dict[str, list[dict[str, Any]]] = {}
    for path, value in _leaves("", merge_prompt(file.data, entries)):
        section, _, key = path.partition(".")
        layer, before = origins[path]
        row = {"key": key or section, "value": _said(value), "from": layer, "before": before}
        sections.setdefault(section, []).append(row)
    return [{"name": name, "rows": rows} for name, rows in sections.items()]


def _origins(file: PolicyFile, entries: tuple[str, ...]) -> dict[str, tuple[str, str | None]]:
    """For each value the layer that set it last, and what it was before that."""
    layers = [(OURS, DEFAULT_POLICY["defaults"]), (FILE, merge_prompt(file.data, ()))]
    layers += [
        (entry, merge_prompt(file.data, entries[: at + 1])) for at, entry in enumerate(entries)
    ]
    found: dict[str, tuple[str, str | None]] = {}
    values: dict[str, str] = {}
    for name, data in layers:
        for path, value in _leaves("", data):
            words = _said(value)
            if values.get(path) != words:
                found[path] = name, values.get(path)
            values[path] = words
    return found


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), each)
    else:
        yield path, value


def _said(value: Any) -> str:
    """A value as the file says it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or "none"
    return json.dumps(value, ensure_ascii=False)


def _warnings(file: PolicyFile, entries: tuple[str, ...] | None) -> list[str]:
    """What concerns these entries and the defaults; all of it without any."""
    said = warnings(file)
    if entries is None:
        return said
    mine = [f"prompts.{entry}" for entry in entries]
    return [
        line
        for line in said
        if not line.startswith("prompts.")
        or line.startswith(tuple(f"{m}{c}" for m in mine for c in ".:"))
    ]


# --- By age


def _ages(state: State | None, policy: PromptPolicy, now_ms: int) -> dict[str, Any]:
    """The limits that alert by a version's age: which hold now, and when others take over."""
    version = state.route.suspect.version if state and state.route else None
    age = age_ms(state, version, now_ms) if state and version else None
    now = {rule.name for rule in alert_rules(policy, age)} if version else set()
    return {
        "version": version,
        "age": duration(age) if age is not None else None,
        "rules": [_rule(rule, rule.name in now, age) for rule in policy.alerts],
    }


def _rule(rule: AlertRule, holds: bool, age: int | None) -> dict[str, Any]:
    changes_ms = None
    if age is not None:
        until_ms = rule.max_age_ms if holds else rule.min_age_ms
        changes_ms = until_ms - age if until_ms is not None and until_ms > age else None
    return {
        "name": rule.name,
        "from": duration(rule.min_age_ms) if rule.min_age_ms else None,
        "until": duration(rule.max_age_ms) if rule.max_age_ms is not None else None,
        "when": [
            {"words": condition_words(condition), "trigger": f"{rule.name}.{condition.metric}"}
            for condition in rule.when
        ],
        "holds": holds,
        "changes_in": duration(changes_ms) if changes_ms is not None else None,
    }
