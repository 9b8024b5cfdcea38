"""What is kept of versions, over a desk: the report, pins, and the purge."""

from collections.abc import Callable
from typing import Any

from knowngood.core.explain_retention import kept_words, reason_words
from knowngood.core.purge import PINNED, UNPINNED
from knowngood.core.retention import Kept, Pin, Shelved
from knowngood.engine import retain
from knowngood.engine.retain import Shelf
from knowngood.server.act import RECENT_COUNT, Ask, check_ask
from knowngood.server.desk import Desk
from knowngood.server.kept import pin_data
from knowngood.server.words import when

PROMPTS_MAX = 100  # in one answer: a shelf reads all contents of a prompt, some 100 KB


def report(
    desk: Desk, now_ms: int, prompt: str | None = None, after: str = "", limit: int = PROMPTS_MAX
) -> dict[str, Any]:
    """Where each version is and why: of one prompt, or of those after `after`, by name.

    Raises UnknownPrompt.
    """
    names, next_after = _page(desk, prompt, after, limit)
    shelves = [(name, _shelf(desk, name, now_ms)) for name in names]
    return {
        "prompts": [shelf_data(name, shelf) for name, shelf in shelves],
        "next_after": next_after,
    }


def pin(desk: Desk, prompt: str, version: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Keep a version whatever becomes of it.

    Raises Unknown…, or BadRequest without a reason or when the prompt has too many pins.
    """
    return _word(desk, prompt, version, ask, PINNED, desk.store.retention.pin, now_ms)


def unpin(desk: Desk, prompt: str, version: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """End a pin. Raises Unknown…, or BadRequest without a reason."""
    return _word(desk, prompt, version, ask, UNPINNED, desk.store.retention.unpin, now_ms)


def purge(
    desk: Desk,
    ask: Ask,
    now_ms: int,
    prompt: str | None = None,
    after: str = "",
    limit: int = PROMPTS_MAX,
) -> dict[str, Any]:
    """Purge all that is free: of one prompt, or of those after `after`, each by itself.

    Raises UnknownPrompt, StaleState, or BadRequest without a reason.
    """
    check_ask(ask, because=not ask.dry_run)
    names, next_after = _page(desk, prompt, after, limit)
    rows = [_purged(desk, name, ask, now_ms) for name in names]
    return {
        "outcome": "changed" if any(row["purged"] for row in rows) else "unchanged",
        "dry_run": ask.dry_run,
        "purged_count": sum(len(row["purged"]) for row in rows),
        "kept_count": sum(len(row["kept"]) for row in rows),
        "prompts": rows,
        "next_after": next_after,
    }


def shelf_data(prompt: str, shelf: Shelf) -> dict[str, Any]:
    """A prompt's shelf as data, the newest version first."""
    kept = [each.kept for each in shelf.shelved]
    return {
        "prompt": prompt,
        **{f"{kind.value}_count": kept.count(kind) for kind in Kept},
        "versions": [_row(each) for each in reversed(shelf.shelved)],
    }


def _row(each: Shelved) -> dict[str, Any]:
    return {
        "version": each.version,
        "kept": each.kept,
        "words": kept_words(each),
        "because": [
            {"kind": r.kind, "environment": r.environment or None, "words": reason_words(r)}
            for r in each.reasons
        ],
        "pin": pin_data(each.pin),
        **when("used", each.used_ms),
        **when("free", each.free_ms),
    }


def _page(desk: Desk, prompt: str | None, after: str, limit: int) -> tuple[list[str], str | None]:
    """The prompts asked for, and where the next ones begin."""
    if prompt is not None:
        return [desk.resolve(prompt)[0]], None
    names = [name for name in desk.store.registry.prompts() if name > after]
    page = names[: min(limit, PROMPTS_MAX)]
    return page, page[-1] if page and len(page) < len(names) else None


def _shelf(desk: Desk, name: str, now_ms: int) -> Shelf:
    return retain.shelf(desk.store, desk.policy.for_prompt(name), name, now_ms)


def _purged(desk: Desk, name: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    if ask.dry_run:
        shelf = _shelf(desk, name, now_ms)
        went = list(shelf.free)
    else:
        policy = desk.policy.for_prompt(name)
        went, shelf = retain.purge(desk.store, policy, name, ask.because, ask.actor, now_ms)
    rows = shelf_data(name, shelf)["versions"]
    return {
        "prompt": name,
        "purged": [row for row in rows if row["version"] in went],
        "kept": [row for row in rows if row["version"] not in went],
    }


def _word(
    desk: Desk,
    prompt: str,
    version: str,
    ask: Ask,
    kind: str,
    carry_out: Callable[[Pin, str], bool],
    now_ms: int,
) -> dict[str, Any]:
    name, wanted = desk.resolve(prompt, version)
    assert wanted is not None
    check_ask(ask, because=True)
    there = {pin.version for pin in desk.store.retention.pins(name)}
    word = Pin(name, wanted, ask.because, ask.actor, now_ms)
    would = (wanted in there) == (kind == UNPINNED)
    changed = would if ask.dry_run else carry_out(word, desk.policy.revision)
    return {
        "outcome": "changed" if changed else "unchanged",
        "dry_run": ask.dry_run,
        "id": _line_id(desk, name, kind, now_ms) if changed and not ask.dry_run else None,
        "prompt": name,
        "version": wanted,
        "pinned": (wanted in there) if ask.dry_run else kind == PINNED,
        **when("at", now_ms),
    }


def _line_id(desk: Desk, prompt: str, kind: str, at_ms: int) -> int | None:
    """The id of the line of history that the order wrote."""
    lines = desk.store.log.read("", prompt, limit=RECENT_COUNT)
    own = [line.id for line in lines if line.kind == kind and line.at_ms == at_ms]
    return own[-1] if own else None
