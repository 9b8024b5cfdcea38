"""The generated pages of the documentation are up to date."""

import re
from dataclasses import fields

import pytest

from docs import generate
from knowngood.core.model import Wait
from knowngood.core.reading import Proof

PAGES = generate.pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_is_up_to_date(path):
    """What is written is what would be written today; `make docs` writes it."""
    assert path.read_text(encoding="utf-8") == PAGES[path], "run `make docs`"


def test_every_verb_is_on_the_page():
    """The reference of the command line leaves out no verb."""
    page = generate.cli_page()
    for command in generate.verbs():
        assert f"\n## knowngood {' '.join(command)}\n" in page


def test_every_field_of_the_evidence_is_on_the_page():
    """The reference of the API leaves out nothing that a finding rests on, in the same order."""
    assert list(generate.PROOF) == [field.name for field in fields(Proof)]
    page = generate.api_page()
    assert not [name for name in generate.PROOF if f"\n| `{name}` | " not in page]


def test_every_field_of_a_wait_is_on_the_page():
    """What is waited on is documented as it is answered: its fields, and the words besides."""
    assert list(generate.WAIT) == ["kind", "words", *(f.name for f in fields(Wait)[1:])]
    page = generate.api_page()
    assert not [name for name in generate.WAIT if f"\n| `{name}` | " not in page]


def test_the_transcript_is_of_a_story_that_ended_well():
    """What the README shows has happened: a rollback, every client, a verified recovery."""
    lines = generate.TRANSCRIPT.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "$ make demo"
    assert re.search(r"ROLLBACK v2\.0\.0 -> v1\.9\.0  errors \d+\.\d% > 5\.0%", "\n".join(lines))
    assert re.search(r"4 of 4 clients on generation 3", "\n".join(lines))
    assert re.search(r"verified: errors .* closed after \d+ s$", lines[-1])


def test_transcript_goes_between_its_markers():
    """Only what is between the markers changes; a text without them stays as it is."""
    text = f"before\n{generate.BEGIN}\nold\n{generate.END}\nafter\n"
    written = generate.with_transcript(text, "new\n")
    assert written == f"before\n{generate.BEGIN}\n```\nnew\n```\n{generate.END}\nafter\n"
    assert generate.with_transcript(written, "new\n") == written
    assert generate.with_transcript("nothing here", "new") == "nothing here"
