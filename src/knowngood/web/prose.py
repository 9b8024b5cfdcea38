"""Markdown as HTML, for runbooks and post-mortems. No HTML within it gets through."""

from collections.abc import Callable, Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

Where = Callable[[str], str]

# Addresses that run something are no links to it, and a tag is text.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")
# What is wider than a phone scrolls, with keys too. (What looks like a tag in the text is escaped.)
_REACHABLE = (("<pre>", '<pre tabindex="0">'), ("<table>", '<table tabindex="0">'))
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


def same(where: str) -> str:
    """The address as it was written."""
    return where


def prose(text: str, below: int = 0, link: Where = same, chart: Where | None = None) -> Markup:
    """The text as HTML, its headings so many levels deeper.

    `link` says where an address leads, `chart` where the chart is that a picture shows; without
    `chart` there are no pictures, and their words stand for them.
    """
    tokens = _PARSER.parse(text)
    for token in _each(tokens):
        _adapt(token, below, link, chart)
    for start, inside, end in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if start.type == "th_open" and not inside.content:  # it heads nothing
            start.tag = end.tag = "td"
        elif chart and [child.type for child in inside.children or ()] == ["html_inline"]:
            start.tag = end.tag = "div"  # a chart is no part of a sentence
    made = _PARSER.renderer.render(tokens, _PARSER.options, {})
    for tag, better in _REACHABLE:
        made = made.replace(tag, better)
    return Markup(made)  # noqa: S704 - see _PARSER


def _each(tokens: Iterable[Token]) -> Iterable[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()


def _adapt(token: Token, below: int, link: Where, chart: Where | None) -> None:
    token.attrs.pop("style", None)  # of a table's cell: the pages' policy forbids it
    if token.type in ("heading_open", "heading_close"):
        token.tag = HEADINGS[min(HEADINGS.index(token.tag) + below, len(HEADINGS) - 1)]
    elif token.type == "link_open":
        token.attrs["href"] = link(str(token.attrs["href"]))
        token.attrs["rel"] = "noopener noreferrer"
    elif token.type == "image":
        token.type = "html_inline"
        token.content = _image(str(token.attrs["src"]), token.content, chart)


def _image(src: str, words: str, chart: Where | None) -> str:
    """A chart that the page's script draws, and its picture where none runs."""
    if chart is None:
        return str(escape(words))
    where, said = escape(chart(src)), escape(words)
    return (
        f'<figure class="chart" data-chart="{where}"><noscript><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{where}.svg?theme=dark">'
        f'<img src="{where}.svg" alt="{said}" loading="lazy"></picture></noscript>'
        f'<p class="loading">drawing {said} …</p></figure>'
    )
