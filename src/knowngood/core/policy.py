"""The policy: what counts as harm, and what follows from it.

`parse` takes plain data (the YAML is read at the edge) and returns a checked `PolicyFile`, merged
over the default policy; `PolicyFile.for_prompt` is what the judgement reads.
"""

from collections.abc import Mapping
from typing import Any

from knowngood.core.inbound import build_inbound
from knowngood.core.model import ScoreRange
from knowngood.core.people import Person
from knowngood.core.policy_build import (
    PolicyFile,
    canonical_text,
    check_resolved,
    check_scores,
    is_glob,
    matching,
    merge_file,
    merge_prompt,
    overlapping_pairs,
    plain,
    revision_of,
)
from knowngood.core.policy_checks import Reader, below, fields, is_removal
from knowngood.core.policy_default import DEFAULT_POLICY
from knowngood.core.policy_parse import (
    DECLARATIONS,
    FILE,
    GLOBS_MAX,
    NAMED_SECTIONS,
    SECTIONS,
)
from knowngood.core.policy_people import build_channel, check_channel_names
from knowngood.core.policy_warnings import warnings

__all__ = ["DEFAULT_POLICY", "Person", "PolicyFile", "own_warnings", "parse", "warnings"]


def parse(data: Mapping[str, Any]) -> PolicyFile:
    """The policy of a file, merged over the default policy.

    Raises BadPolicy: a line for each problem with its path, and for the first of them `known` (what
    could stand there) and `next_step` (what was probably meant).
    """
    scores, counters = _declared(data)
    reader = Reader(scores, frozenset(counters))
    fields(reader, "", data, {k: _read if k in DECLARATIONS else v for k, v in FILE.items()})
    reader.raise_any()
    _check_removals(reader, data)
    reader.raise_any()
    merged = merge_file(DEFAULT_POLICY, plain(data))
    _check_merged(reader, merged)
    reader.raise_any()
    canonical = canonical_text(merged)
    return PolicyFile(
        canonical=canonical,
        revision=revision_of(canonical),
        data=merged,
        scores=scores,
        counters=tuple(merged["counters"]),
        related=tuple(tuple(group) for group in merged["related"]),
        people=tuple(_person(name, merged["people"][name]) for name in sorted(merged["people"])),
        channels=tuple(build_channel(n, merged["channels"][n]) for n in sorted(merged["channels"])),
        inbound=tuple(build_inbound(n, merged["inbound"][n]) for n in sorted(merged["inbound"])),
        audiences={name: tuple(names) for name, names in sorted(merged["audiences"].items())},
    )


def _read(reader: Reader, path: str, value: Any) -> None:
    """Scores and counters were read before the rest, which names them."""


def _declared(data: Any) -> tuple[dict[str, ScoreRange], list[str]]:
    """The scores and counters of the file, which its conditions may name."""
    reader = Reader()
    if not isinstance(data, Mapping):
        reader.wrong("policy", f"{data!r} is not a mapping", FILE)
        reader.raise_any()
    fields(reader, "", {key: data[key] for key in DECLARATIONS if key in data}, DECLARATIONS)
    reader.raise_any()
    scores = {name: dict(score) for name, score in DEFAULT_POLICY["scores"].items()}
    for name, score in data.get("scores", {}).items():
        scores[name] = {**scores.get(name, {}), **score}
    check_scores(reader, scores)
    reader.raise_any()
    ranges = {
        name: ScoreRange(
            scores[name]["min"], scores[name]["max"], scores[name].get("better", "higher")
        )
        for name in sorted(scores)
    }
    return ranges, sorted(set(data.get("counters", [])))


def _check_removals(reader: Reader, data: Mapping[str, Any]) -> None:
    """Only what exists can be removed: a removal with a typing error would remove nothing."""
    places = {"defaults": data.get("defaults", {})}
    places |= {below("prompts", key): entry for key, entry in data.get("prompts", {}).items()}
    for section in NAMED_SECTIONS:
        known = set(DEFAULT_POLICY["defaults"][section])
        for place in places.values():
            known |= {n for n, item in place.get(section, {}).items() if not is_removal(item)}
        for path, place in places.items():
            for name, item in place.get(section, {}).items():
                if is_removal(item) and name not in known:
                    path_of_name = f"{path}.{section}.{name}"
                    reader.unknown(path_of_name, section.removesuffix("s"), name, sorted(known))


def _check_merged(reader: Reader, merged: Mapping[str, Any]) -> None:
    """The defaults, each entry under `prompts:`, and every two globs that one prompt may have.

    The rules hold between two values, so what holds for every two holds for all.
    """
    prompts = merged["prompts"]
    if sum(map(is_glob, prompts)) > GLOBS_MAX:
        reader.wrong("prompts", f"there are more than {GLOBS_MAX} globs")
        return
    # Our own defaults too: a declared score may have turned one of their conditions around.
    fields(reader, "defaults", merged["defaults"], SECTIONS)
    check_resolved(reader, "defaults", merged["defaults"])
    check_channel_names(reader, merged)
    if reader.problems:
        return  # every prompt would repeat them
    for key in prompts:
        entries = (key,) if is_glob(key) else matching(prompts, key)
        check_resolved(reader, below("prompts", key), merge_prompt(merged, entries))
    if not reader.problems:
        for first, second in overlapping_pairs(prompts):
            path = f"prompts.{first} with prompts.{second}"
            check_resolved(reader, path, merge_prompt(merged, (first, second)))


def _person(name: str, data: Mapping[str, Any]) -> Person:
    return Person(
        name=name,
        mail=data.get("mail", ""),
        slack=data.get("slack", ""),
        pagerduty=data.get("pagerduty", ""),
        roles=tuple(data.get("roles", ())),
    )


def own_warnings(file: PolicyFile) -> list[str]:
    """The warnings that a file has on its own account: not what the default policy has as well."""
    of_default = warnings(parse({}))
    return [line for line in warnings(file) if line not in of_default]
