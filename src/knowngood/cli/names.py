"""Names as people type them: `support-bot v2.0.0` and `support-bot:v2.0.0` are the same."""

from knowngood.cli.errors import Usage
from knowngood.core.content import split_name
from knowngood.core.errors import BadRequest


def optional_version(name: str, version: str = "") -> tuple[str, str | None]:
    """(prompt, version or None). Raises BadRequest when both arguments name a version."""
    prompt, named = split_name(name)
    if ":" in version:  # said in full, as it is copied from a list
        of, version_alone = split_name(version)
        if of != prompt:
            raise BadRequest(f"{version!r} is a version of {of!r}, not of {prompt!r}")
        version = version_alone or ""
    if named and version and named != version:
        raise BadRequest(f"{name!r} and {version!r} name two different versions")
    return prompt, named or version or None


def version_of(name: str, version: str = "") -> tuple[str, str]:
    """(prompt, version), where a version must be named. Raises BadRequest or Usage."""
    prompt, found = optional_version(name, version)
    if found is None:
        raise Usage(
            f"which version of {prompt}?",
            next_step=f"name it: {prompt}:VERSION or {prompt} VERSION",
        )
    return prompt, found


def two_versions(name: str, a: str, b: str, expected: str) -> tuple[str, str, str]:
    """(prompt, version before, version after); the name may bring the first along, before `a`.

    Raises BadRequest, or Usage with the words that were `expected`.
    """
    if not b and ":" not in name:
        raise Usage(f"expected {expected}")
    prompt, before = version_of(name, a if b else "")
    _, after = version_of(prompt, b or a)
    return prompt, before, after


def prompt_of(name: str) -> str:
    """The prompt that a name is about, whatever version it names too."""
    return split_name(name)[0]
