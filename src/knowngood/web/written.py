"""Texts that come from anywhere, as they may stand on a page."""

from collections.abc import Iterable

from markupsafe import Markup, escape

from knowngood.server.diffs import Row
from knowngood.server.shown import Piece, Stretch, stretches

VARIABLE = Markup('<b class="variable">{}</b>')
HIDDEN = Markup('<span class="hides" title="{}">{}</span>')


def visible(text: object) -> Markup:
    """The text with what hides in it made visible; nothing of it is ever markup."""
    return written(stretches(str(text)))


def written(pieces: Iterable[Stretch]) -> Markup:
    """Stretches of a text, those that are not plain marked as what they are."""
    return Markup("").join(map(_written, pieces))


def _written(piece: Stretch) -> Markup:
    match piece.kind:
        case Piece.VARIABLE:
            return VARIABLE.format(piece.text)
        case Piece.HIDDEN:
            return HIDDEN.format(piece.words, piece.text)
    return escape(piece.text)


CHANGED = {"+": Markup("<ins>{}</ins>"), "-": Markup("<del>{}</del>")}


def changed(row: Row) -> Markup:
    """A line of a comparison, with what was changed within it marked."""
    around = CHANGED.get(row.sign)
    return Markup("").join(
        around.format(visible(text)) if around and was_changed else visible(text)
        for text, was_changed in row.parts
    )
