"""One version: its content as text, how it stands, and what a promotion of it would meet."""

from typing import Any
from urllib.parse import quote

from knowngood.server import evals, read, rollouts, shown
from knowngood.web.acts import told
from knowngood.web.still import Still
from knowngood.web.visit import Visit, url

EVALUATIONS_SHOWN = 20
WHOLE_BP = 10_000


def view(visit: Visit) -> dict[str, Any]:
    """What the page shows."""
    desk, params = visit.server.desk, visit.request.path_params
    desk.check_environment(visit.environment)
    found = read.version(desk, params["name"], params["version"])
    name, version = found["prompt"], found["version"]
    everything = visit.query("all") == "yes"
    texts = _texts(found["content"], None if everything else shown.CHARS_SHOWN)
    standing = found["standing"].get(visit.environment)
    state = desk.state(visit.environment, name)
    serving = [arm.version for arm in state.route.arms] if state.route else []
    names = [each.version for each in desk.versions(name)]
    at = names.index(version)
    is_whole = standing is not None and standing["weight_bp"] == WHOLE_BP
    return {
        "name": name,
        "version": found,
        "texts": texts,
        "left": sum(each["left"] for each in texts),
        "everything": everything,
        "config": read.config_rows(found["content"]["config"]),
        "standing": standing,
        "serving": serving,
        "before": names[at - 1] if at else "",
        "after": names[at + 1] if at + 1 < len(names) else "",
        "evaluations": evals.listed(desk, name, version, limit=EVALUATIONS_SHOWN)["evaluations"],
        "gates": None if is_whole else _gates(visit, name, version),
        "here": version_url(name, version, visit.environment),
        "told": told(visit),
        "version_url": version_url,
    }


def _gates(visit: Visit, name: str, version: str) -> dict[str, Any]:
    return rollouts.gates(
        visit.server.desk, visit.environment, name, version, visit.now_ms, visit.caller
    )


def _texts(content: dict[str, Any], limit: int | None) -> list[dict[str, Any]]:
    """The text, or each message with its role, ready to be shown."""
    if "text" in content:
        given = [("", content["text"])]
    else:
        given = [(each["role"], each["content"]) for each in content["messages"]]
    ready = shown.templates([text for _, text in given], limit)
    return [
        {"role": role, "shown": each, "left": each.left_chars, "chars": len(text)}
        for (role, text), each in zip(given, ready, strict=True)
    ]


def version_url(name: str, version: str, environment: str, **query: object) -> str:
    """The address of a version's page, whatever characters its name has."""
    return url(f"/prompts/{name}/versions/{quote(version)}", environment, **query)


VERSION = Still("/prompts/{name}/versions/{version:path}", "version.html", view)
