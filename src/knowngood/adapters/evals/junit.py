"""JUnit XML, as `pytest --junitxml` and many other runners of tests write it.

Read as a stream, with no tree and no document type: JUnit XML has none, and every bomb of entities
and every reach for another file begins with one.
"""

from collections.abc import Mapping
from dataclasses import replace
from xml.parsers import expat

from knowngood.core.errors import BadEvaluation
from knowngood.core.evaluation import (
    EXAMPLES_MAX,
    Example,
    Results,
    Scale,
    distinct_id,
    fitting_id,
)

ROOTS = ("testsuites", "testsuite")
SCORE = "score"  # the property of a test that holds its score
DEPTH_MAX = 50  # suites within suites; a runner nests three or four
NEXT = "write it with `pytest --junitxml=FILE`, or your runner's option for JUnit XML"


def read(data: bytes, scale: Scale) -> Results:
    """The results in the file's bytes; a score has to be in the range of `scale`.

    A test with `<failure>` failed, one with `<error>` could not be judged, one with `<skipped>`
    does not count. A property `score` (pytest: `record_property("score", 0.8)`) is the test's
    score. Raises BadEvaluation for what is no JUnit XML, is cut off, or has a document type.
    """
    document = _Document(scale)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = document.begin
    parser.EndElementHandler = document.end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadEvaluation(
            f"not well-formed XML, line {error.lineno}: {expat.ErrorString(error.code)}",
            next_step=NEXT,
        ) from error
    except (LookupError, ValueError) as error:  # an encoding that nobody knows
        raise BadEvaluation(f"the XML cannot be read: {error}", next_step=NEXT) from error
    return Results(tuple(document.examples), document.skipped_count)


def _refuse_doctype(*declared: object) -> None:
    raise BadEvaluation(
        "the XML has a document type (<!DOCTYPE ...>): JUnit XML has none, so it is not read",
        next_step=NEXT,
    )


class _Document:
    """What has been read so far."""

    def __init__(self, scale: Scale) -> None:
        self.examples: list[Example] = []
        self.skipped_count = 0
        self._scale = scale
        self._depth = 0
        self._taken: set[str] = set()
        self._name: str | None = None  # of the test that is being read
        self._signs: set[str] = set()
        self._score: str | None = None

    def begin(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        if self._depth == 0 and tag not in ROOTS:
            raise BadEvaluation(
                f"not JUnit XML: it begins with <{tag[:40]}>", known=ROOTS, next_step=NEXT
            )
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise BadEvaluation(f"not JUnit XML: nested more than {DEPTH_MAX} deep")
        if tag == "testcase":
            of, name = attributes.get("classname", ""), attributes.get("name", "")
            self._name = f"{of}::{name}" if of and name else name or of or "test"
            self._signs, self._score = set(), None
        elif self._name is None:
            return
        elif tag in ("failure", "error", "skipped"):
            self._signs.add(tag)
        elif tag == "property" and attributes.get("name") == SCORE:
            self._score = attributes.get("value", "")

    def end(self, tag: str) -> None:
        """An element ends."""
        self._depth -= 1
        if tag == "testcase" and self._name is not None:
            self._add(self._name)
            self._name = None

    def _add(self, name: str) -> None:
        if self._signs == {"skipped"}:
            self.skipped_count += 1
            return
        if len(self.examples) == EXAMPLES_MAX:
            raise BadEvaluation(
                f"more than the {EXAMPLES_MAX:,} tests that are kept one by one",
                next_step="record how many passed and failed instead",
            )
        id_ = distinct_id(fitting_id(name), self._taken)
        if "error" in self._signs:
            self.examples.append(Example(id_, False, error=True))
            return
        passed = "failure" not in self._signs
        if self._score is None:
            self.examples.append(Example(id_, passed))
        else:
            self.examples.append(replace(self._scored(id_, self._score), passed=passed))

    def _scored(self, id_: str, text: str) -> Example:
        try:
            score = float(text)
        except ValueError:
            raise BadEvaluation(f"the score of {id_!r} is no number: {text[:40]!r}") from None
        return self._scale.example(id_, score)
