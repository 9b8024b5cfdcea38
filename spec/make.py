"""Write routing.json and rendering.json: the cases that an SDK in any language must pass.

Run it after changing the cases below, and never to make a failing SDK pass: a changed answer means
that running rollouts would change hands.
"""

import json
from pathlib import Path
from typing import Any

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import Arm, Route
from knowngood.core.render import compile_template
from knowngood.core.routing import bucket, choose, choose_bucket, new_salt

HERE = Path(__file__).parent

UNITS = ["", "a", "user-1", "user-2", "a:b", "with space", "Zoë", "日本語", "🙂", "x" * 300]
SALTS = ["", "0123456789abcdef", "other"]
SPLITS = [1, 100, 500, 2500, 5000, 9999]
ROLLOUTS = [
    ("production", "support-bot", "v2.0.0", 1),
    ("production", "support-bot", "v2.0.0", 2),
    ("staging", "a.b_c-d", "2024-06-01 évaluation", 981),
]

TEMPLATES: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("no placeholder", {"x": "ignored"}),
    ("Hello {{ name }}!", {"name": "Ada"}),
    ("{{name}}{{ name }}{{\tname }}", {"name": "x"}),
    ("{{a}}{{b}}", {"a": "{{b}}", "b": "{{a}}"}),
    ("{{_x1}} and {{X_}}", {"_x1": "1", "X_": "2"}),
    (r"literal \{{x}} and {{x}}", {"x": "value"}),
    (r"\\{{x}}", {"x": "value"}),
    (r"a \ b \n {{x}}", {"x": "\\{{x}}"}),
    ("}} closes nothing } {", {}),
    ('{"a": {"b": {{n}}}}', {"n": 7}),
    ("{{n}} {{big}} {{negative}}", {"n": 0, "big": 12345678901234567890, "negative": -1}),
    ("{{f}}", {"f": 0.25}),
    ("{{yes}}/{{no}}/{{nothing}}/", {"yes": True, "no": False, "nothing": None}),
    ("{{x}}", {"x": "%s {0} ${x} <b>&amp;</b> \u0000 日本語 🙂"}),
    ("line\r\n{{x}}\n\n", {"x": "\n"}),
    ("{{x}}", {}),
    ("{{x}} {{y}} {{x}}", {"y": "given", "z": "unused"}),
    ("{{x}}", {"x": ["list"]}),
    ("{{x}}", {"x": {"an": "object"}}),
    ("{{ a.b }}", {"a": "x"}),
    ("{{ a[0] }}", {"a": "x"}),
    ("{{ a|upper }}", {"a": "x"}),
    ("{{ 1 }}", {}),
    ("{{ a b }}", {"a": "x"}),
    ("{{ é }}", {}),
    ("{{\nx\n}}", {"x": "x"}),
    ("{{}}", {}),
    ("{{{x}}}", {"x": "x"}),
    ("{{ x", {"x": "x"}),
    ("{{ x }", {"x": "x"}),
    ("{{" + "x" * 64 + "}}", {"x" * 64: "the longest name"}),
    ("{{" + "x" * 65 + "}}", {"x" * 65: "too long a name"}),
]


def routing() -> dict[str, Any]:
    """Buckets, choices with and without a unit, and derived salts."""
    routes = [
        ([["v1", 10_000]], Route((Arm("v1", 10_000),), "0123456789abcdef")),
        *(
            (
                [["v1", 10_000 - bp], ["v2", bp]],
                Route((Arm("v1", 10_000 - bp), Arm("v2", bp)), "0123456789abcdef"),
            )
            for bp in SPLITS
        ),
    ]
    return {
        "bucket": [
            {"salt": salt, "unit": unit, "bucket": bucket(salt, unit)}
            for salt in SALTS
            for unit in UNITS
        ],
        "choose": [
            {"arms": arms, "salt": route.salt, "unit": unit, "version": choice.version,
             "reason": choice.reason}
            for arms, route in routes
            for unit in UNITS[1:]
            for choice in [choose(route, unit)]
        ],
        "choose_bucket": [
            {"arms": arms, "bucket": number, "version": choice.version, "reason": choice.reason}
            for arms, route in routes
            for number in (0, 99, 100, 499, 500, 9998, 9999)
            for choice in [choose_bucket(route, number)]
        ],
        "new_salt": [
            {"environment": environment, "prompt": prompt, "version": version,
             "generation": generation, "salt": new_salt(environment, prompt, version, generation)}
            for environment, prompt, version, generation in ROLLOUTS
        ],
    }  # fmt: skip


def rendered(text: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The output of one case, or the code of its error."""
    try:
        return {"output": compile_template(text).render(variables)}
    except KnowngoodError as error:
        return {"error": error.code}


def rendering() -> list[dict[str, Any]]:
    """Texts, variables, and what becomes of them."""
    return [
        {"text": text, "variables": variables, **rendered(text, variables)}
        for text, variables in TEMPLATES
    ]


def written(data: object) -> str:
    """The file's text."""
    return json.dumps(data, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    (HERE / "routing.json").write_text(written(routing()), encoding="utf-8")
    (HERE / "rendering.json").write_text(written(rendering()), encoding="utf-8")
