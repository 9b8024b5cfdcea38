"""The census for people: which process runs which generation, those that need attention first."""

from collections import Counter
from typing import Any

from knowngood.core.model import ClientSeen
from knowngood.engine.observe import LIVE_MS, SILENT_MS, census
from knowngood.server.desk import Desk
from knowngood.server.read import census_words, standing_of
from knowngood.server.words import when

ROWS_MAX = 100  # on a page; the drawing of each second stays small
GENERATIONS_SHOWN = 8
STANDINGS = ("behind", "silent", "current", "closed")  # the order of the list
EVERY = "all"


def page(
    desk: Desk,
    environment: str,
    now_ms: int,
    only: str = EVERY,
    text: str = "",
    number: int = 1,
) -> dict[str, Any]:
    """A page of the processes of one standing whose names contain the text, and all in numbers.

    Raises UnknownEnvironment.
    """
    desk.check_environment(environment)
    generation = desk.store.states.generation(environment)
    heard = desk.store.clients.clients(environment, now_ms - SILENT_MS)
    rows = [(standing_of(client, generation, now_ms), client) for client in heard]
    counts = Counter(standing for standing, _ in rows)
    only = only if only in STANDINGS else EVERY
    wanted = text.strip().lower()
    found = [
        row
        for row in rows
        if only in (EVERY, row[0]) and (not wanted or wanted in row[1].id.lower())
    ]
    found.sort(key=lambda row: (STANDINGS.index(row[0]), row[1].id))
    pages = max(1, -(-len(found) // ROWS_MAX))
    number = min(max(1, number), pages)
    first = (number - 1) * ROWS_MAX
    taken = census(heard, generation, now_ms)
    return {
        "generation": generation,
        "words": census_words(taken.current_count, taken.live_count, generation),
        "live_count": taken.live_count,
        "current_count": taken.current_count,
        "counts": {EVERY: len(rows), **{name: counts[name] for name in STANDINGS}},
        "generations": _generations(rows, generation),
        "only": only,
        "text": text.strip(),
        "found": len(found),
        "page": number,
        "pages": pages,
        "rows": [
            {
                "id": client.id,
                "standing": standing,
                "generation": client.generation,
                "behind_by": max(0, generation - client.generation),
                **when("seen", client.seen_ms),
            }
            for standing, client in found[first : first + ROWS_MAX]
        ],
        "live_ms": LIVE_MS,
        "silent_ms": SILENT_MS,
    }


def _generations(rows: list[tuple[str, ClientSeen]], generation: int) -> dict[str, Any]:
    """How many live processes run each generation, the newest first."""
    counts = Counter(c.generation for standing, c in rows if standing in ("behind", "current"))
    order = sorted(counts, reverse=True)
    shown, rest = order[:GENERATIONS_SHOWN], order[GENERATIONS_SHOWN:]
    return {
        "rows": [
            {"generation": each, "count": counts[each], "is_current": each >= generation}
            for each in shown
        ],
        "rest_count": sum(counts[each] for each in rest),
        "rest_generations": len(rest),
    }
