"""Laws of the templates: nothing is evaluated, nothing is scanned twice, errors say where."""

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.errors import BadContent, KnowngoodError
from knowngood.core.model import Content, Message
from knowngood.core.render import (
    NAME_CHARS_MAX,
    TEMPLATE_CHARS_MAX,
    VARIABLES_MAX,
    BadValue,
    MissingVariable,
    compile_content,
    compile_template,
)

SPEC = Path(__file__).resolve().parents[2] / "spec" / "rendering.json"
CASES = json.loads(SPEC.read_text(encoding="utf-8"))

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
values = st.text(max_size=30)

# Template injections that worked against other products: server-side templates, str.format, sandbox
# escapes, expressions that burn memory or time.
PAYLOADS = [
    "{{ 7*7 }}",
    "{{ 7**(9**7) }}",
    '{{ "a"*500000000 }}',
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ x.__class__ }}",
    "{{ x['__class__'] }}",
    '{{ x|attr("__class__") }}',
    "{{ config.items() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os.popen('id') }}",
    "{{#each x}}{{this}}{{/each}}",
    "{{> partial }}",
    "{{& x }}",
    "{{{ x }}}",
    "{{ x:{x.__class__} }}",
    "{{ range(10**9)|list }}",
    "{{\u200bx}}",
    "{{ \uff58 }}",
]
INERT = [
    "{0.__class__.__init__.__globals__}",
    "{name:{name.__class__.__name__}}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{%- include 'secret' -%}",
    "${7*7} #{7*7} <%= 7*7 %> @{7*7} %(x)s %s $x",
    "f'{x}'",
    "{# comment #}",
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:30])
def test_rendering_is_that_of_the_specification(case):
    """A prompt renders to the same text in every language, or fails with the same code."""
    try:
        outcome = {"output": compile_template(case["text"]).render(case["variables"])}
    except KnowngoodError as error:
        outcome = {"error": error.code}
    expected = {key: case[key] for key in ("output", "error") if key in case}
    assert outcome == expected


@pytest.mark.parametrize("payload", PAYLOADS)
def test_template_injections_are_refused(payload):
    """Whatever is more than a name between the braces is an error at push, never evaluated."""
    with pytest.raises(BadContent):
        compile_template(payload)


@pytest.mark.parametrize("payload", INERT)
def test_other_template_languages_are_text(payload):
    """Only `{{` means anything."""
    template = compile_template(payload)
    assert template.variables == ()
    assert template.render({"x": "value", "name": "value"}) == payload


@pytest.mark.parametrize("payload", PAYLOADS + INERT)
def test_injections_in_values_stay_text(payload):
    """A value is inserted as it is, whatever it looks like."""
    assert compile_template("<{{ x }}>").render({"x": payload}) == f"<{payload}>"


@given(st.dictionaries(names, st.text(max_size=20), max_size=5), st.data())
def test_values_are_never_scanned_again(values, data):
    """The output is the template's pieces and the values, in order, byte for byte."""
    pieces = data.draw(st.lists(st.text(alphabet="ab }\n%$", max_size=10), min_size=1, max_size=6))
    holes = data.draw(
        st.lists(
            st.sampled_from(sorted(values)), min_size=len(pieces) - 1, max_size=len(pieces) - 1
        )
        if values
        else st.just([])
    )
    text, expected = pieces[0], pieces[0]
    for name, piece in zip(holes, pieces[1:], strict=False):
        text += "{{ " + name + " }}" + piece
        expected += values[name] + piece
    assert compile_template(text).render(values) == expected


@given(st.text(alphabet=string.ascii_letters + "{}\\ .|[]()\n0123456789_%#é", max_size=60))
def test_any_text_compiles_or_is_refused_with_a_position(text):
    """There is no third way, and a compiled template renders when all its variables are given."""
    refusal = None
    try:
        template = compile_template(text)
    except BadContent as error:
        refusal = error
    if refusal:
        assert refusal.message.startswith("line ")
        assert refusal.next_step
    else:
        rendered = template.render(dict.fromkeys(template.variables, ""))
        assert "{{" not in rendered or r"\{{" in text


@given(st.text(max_size=60))
def test_escaping_every_brace_pair_gives_the_text_back(text):
    r"""Any text without a backslash can be said literally, by writing `\{{` for `{{`."""
    text = text.replace("\\", "")
    assert compile_template(text.replace("{{", r"\{{")).render({}) == text


def test_errors_say_line_and_column():
    """An author finds the malformed placeholder without counting."""
    with pytest.raises(BadContent) as caught:
        compile_template("one\ntwo {{ a.b }} three")
    assert caught.value.message.startswith("line 2, column 5: `{{ a.b }}` is not a placeholder")
    with pytest.raises(BadContent, match=r"^line 1, column 3: `\{\{` is never closed"):
        compile_template("x {{ a")


def test_missing_variables_are_all_named():
    """One error names everything that is missing and what was given."""
    with pytest.raises(MissingVariable) as caught:
        compile_template("{{a}} {{b}} {{c}} {{a}}").render({"b": "x", "z": "y"})
    assert caught.value.message == "missing variables a, c; given: b, z"
    assert caught.value.known == ["b", "z"]


@pytest.mark.parametrize("value", [[1], {"a": 1}, object(), b"bytes", {1}, (1,), 1j])
def test_only_scalars_are_values(value):
    """A list or an object in a prompt is a mistake: its representation is not what was meant."""
    with pytest.raises(BadValue, match="value of x is a"):
        compile_template("{{ x }}").render({"x": value})


def test_variables_are_listed_once_in_order():
    """A caller can see what a prompt needs."""
    assert compile_template("{{b}} {{a}} {{b}}").variables == ("b", "a")


def test_limits_hold():
    """Length, names and their number are bounded."""
    compile_template("x" * TEMPLATE_CHARS_MAX)
    with pytest.raises(BadContent, match="limit"):
        compile_template("x" * (TEMPLATE_CHARS_MAX + 1))
    compile_template("".join(f"{{{{v{i}}}}}" for i in range(VARIABLES_MAX)))
    with pytest.raises(BadContent, match="limit"):
        compile_template("".join(f"{{{{v{i}}}}}" for i in range(VARIABLES_MAX + 1)))
    with pytest.raises(BadContent, match="longer than"):
        compile_template("{{" + "x" * (NAME_CHARS_MAX + 1) + "}}")


def test_a_hostile_text_compiles_in_linear_time():
    """Braces without end cost no more than their length; quadratic scanning would take minutes."""
    assert compile_template(r"\{{" * 80_000).render({}) == "{{" * 80_000
    with pytest.raises(BadContent):
        compile_template("{{" * 130_000)
    with pytest.raises(BadContent):
        compile_template("{{" + " " * 260_000)


def test_messages_render_every_one():
    """Chat messages are rendered one by one; what is missing in any of them is named at once."""
    chat = Content(messages=(Message("system", "Be {{ tone }}."), Message("user", "{{ q }} {{x}}")))
    compiled = compile_content(chat)
    assert compiled.variables == ("tone", "q", "x")
    assert compiled.render({"tone": "kind", "q": "Why?", "x": 1}) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Why? 1"},
    ]
    with pytest.raises(MissingVariable, match="missing variables q, x; given: tone"):
        compiled.render({"tone": "kind"})
    assert compile_content(Content(text="{{ a }}")).render({"a": "b"}) == "b"
