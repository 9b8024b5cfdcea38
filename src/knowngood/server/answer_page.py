"""The page behind a signed link: what is asked, and a form. Looking at it changes nothing.

Programs fetch links before people see them: they find a form, and send none. Whatever the page says
is text; it runs no script and loads nothing.
"""

import base64
from hashlib import sha256
from html import escape
from typing import Any

from knowngood.core.asking import Answer
from knowngood.core.errors import KnowngoodError
from knowngood.server.answers import About
from knowngood.server.asked import alarms_data, question_data
from knowngood.server.desk import Desk
from knowngood.server.links import Link

NAME_CHARS_MAX = 100
BECAUSE_CHARS_MAX = 2_000
STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:2rem auto;padding:0 1rem}"
    "input,textarea,button{font:inherit;width:100%;box-sizing:border-box;margin:.25rem 0 1rem}"
    "button{padding:.75rem}dt{font-weight:600}dd{margin:0 0 .5rem}"
)
_STYLE_HASH = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # The form's own request has to say where it comes from, and does not under `no-referrer`.
    "Referrer-Policy": "same-origin",
}
SAYS = {
    Answer.APPROVE: "Roll back",
    Answer.DECLINE: "Do not roll back, I investigate",
    Answer.ACK: "I am looking",
}
MEANS = {
    Answer.APPROVE: "Everybody is served the version that is asked about, from now on.",
    Answer.DECLINE: "Nothing is rolled back; you are reminded until it is over.",
    Answer.ACK: "Nobody else is called. The question, if there is one, stays open.",
}


def asked(desk: Desk, what: About, link: Link, now_ms: int) -> str:
    """What is asked and how it stands, and the form that answers."""
    state = desk.store.states.get(what.environment, what.prompt)
    question = question_data(state, now_ms)
    alarm = next((a for a in alarms_data(state, now_ms) if a["thread"] == link.thread), None)
    rows = [("Prompt", f"{what.prompt} in {what.environment}"), ("Incident", link.thread)]
    if alarm is not None:
        rows.append(("Page", alarm["subject"]))
        if alarm["acknowledged_by"]:
            rows.append(("Acknowledged by", alarm["acknowledged_by"]))
    if question is not None and link.number == question["number"]:
        rows += [("Question", question["words"]), ("Time left", question["left"])]
    over = _over(link, question, alarm)
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(v))}</dd>" for name, v in rows)
    return page(SAYS[link.answer], f"<dl>{body}</dl>{over or _form(link)}")


def done(link: Link, answer: dict[str, Any]) -> str:
    """That the answer was taken."""
    said = answer.get("because") or answer.get("words") or answer.get("outcome") or ""
    words = f"<p>{escape(str(said))}</p>" if said else ""
    return page(f"Done: {SAYS[link.answer]}", f"<p>{escape(link.thread)}</p>{words}")


def refused(error: KnowngoodError) -> str:
    """Why not, and what to do."""
    further = f"<p><code>{escape(error.next_step)}</code></p>" if error.next_step else ""
    return page("Nothing was changed", f"<p>{escape(error.message)}</p>{further}")


def page(title: str, body: str) -> str:
    """A page around a body that is HTML already."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )


def _over(link: Link, question: dict[str, Any] | None, alarm: dict[str, Any] | None) -> str:
    """That this link has nothing left to answer; empty while it has."""
    if link.answer is Answer.ACK:
        open_still = alarm is not None and not alarm["acknowledged_by"]
    else:
        open_still = question is not None and question["number"] == link.number
    return "" if open_still else "<p>This is no longer asked.</p>"


def _form(link: Link) -> str:
    """`post` to the page's own address."""
    name = ""
    if not link.is_person:
        name = (
            f'<label>Your name<input name="name" required maxlength="{NAME_CHARS_MAX}" '
            'autocomplete="name"></label>'
        )
    required = "" if link.answer is Answer.ACK else " required"
    return (
        f'<form method="post">{name}<label>Why<textarea name="because" rows="3" '
        f'maxlength="{BECAUSE_CHARS_MAX}"{required}></textarea></label>'
        f"<button>{escape(SAYS[link.answer])}</button></form><p>{escape(MEANS[link.answer])}</p>"
    )
