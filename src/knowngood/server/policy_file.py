"""The policy file: YAML at the edge, checked by core."""

from pathlib import Path
from typing import Any

import yaml

from knowngood.core.errors import BadPolicy, KnowngoodError
from knowngood.core.policy import PolicyFile, parse

POLICY_BYTES_MAX = 1024 * 1024  # thousands of prompts' overrides; beyond it, it is some other file


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once: of two, YAML itself would silently drop the first."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, str) and key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is there twice", key_node.start_mark
            )
        seen.add(key if isinstance(key, str) else str(key))
    loader.flatten_mapping(node)
    return yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep=deep)


def _construct(loader: _Loader, node: yaml.MappingNode) -> Any:
    made: dict[Any, Any] = {}
    yield made
    made.update(_mapping(loader, node))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct)


def load_policy(path: str | Path | None) -> PolicyFile:
    """The policy in the file, or the default policy without one.

    Raises BadPolicy, which names the file and, where the YAML itself is wrong, the line.
    """
    if path is None:
        return parse({})
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise BadPolicy(f"cannot read the policy {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadPolicy(f"{path} is not UTF-8 text: byte {error.start}") from error
    return parse_policy_text(text, str(path))


def parse_policy_text(text: str, name: str) -> PolicyFile:
    """The policy in YAML text; `name` is what errors call it. Raises BadPolicy."""
    data = strict_yaml(text, name, BadPolicy)
    try:
        return parse({} if data is None else data)
    except BadPolicy as error:
        raise BadPolicy(
            f"{name}: {error.message}", known=error.known, next_step=error.next_step
        ) from error


def strict_yaml(text: str, name: str, wrong: type[KnowngoodError]) -> Any:
    """The data in YAML text in which no key stands twice; `wrong` is raised for what is none."""
    if len(text) > POLICY_BYTES_MAX:
        raise wrong(f"{name} has {len(text)} characters; the limit is {POLICY_BYTES_MAX}")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, stricter
    except yaml.MarkedYAMLError as error:
        raise wrong(_place(name, error)) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise wrong(f"{name}: {error}") from error


def _place(name: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{name}{where}: {error.problem or 'not valid YAML'}"
