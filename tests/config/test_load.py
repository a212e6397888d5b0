"""What is wrong in a `conveyor.toml` is said with its path, its cause and the nearest match: all of it at once."""

from __future__ import annotations

import contextlib
import copy
import json
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conveyor.config
from conveyor.config.load import load
from conveyor.config.problem import dotted
from conveyor.errors import ConfigInvalid

REFERENCE = (Path(conveyor.config.__file__).parent / "reference.toml").read_text()
MINIMAL = """
[project]
name = "shop"
[data.rows]
time = "at"
label = { column = "y", delay = "7d" }
[step.a]
run = "shop.features:build"
inputs = "data.rows"
[model.fraud]
train = "shop.fraud:train"
inputs = ["step.a"]
metric = "roc_auc"
[service.web]
run = "serve"
uses = ["model.fraud"]
"""


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        load(text)
    return caught.value.problems


def test_defaults() -> None:
    config = load(MINIMAL)
    assert config.steps["a"].inputs == ("data.rows",)
    assert config.data["rows"].label is not None
    assert config.data["rows"].label.delay == timedelta(days=7)
    assert list(config.environments) == ["production"]
    assert config.environments["production"].branch == "main"
    assert load('[project]\nname = "x"').models == {}


def test_a_step_before_a_model_is_not_named_like_one_of_a_training() -> None:
    renamed = MINIMAL.replace("[step.a]", "[step.verify]").replace("step.a", "step.verify")
    assert any("a training has a step verify of its own" in problem for problem in problems(renamed))
    assert "train" in load(MINIMAL + '[step.train]\ncommand = "true"\n').steps, "no model needs it"


def test_files_and_pinned_data() -> None:
    pictures = '[data.pictures]\nkind = "files"\n'
    both = MINIMAL.replace('inputs = "data.rows"', 'inputs = ["data.rows@golden", "data.pictures@2026-05-01T06:30"]')
    assert load(both + pictures).steps["a"].inputs == ("data.rows@golden", "data.pictures@2026-05-01T06:30")
    assert problems(MINIMAL.replace('"data.rows"', '["data.rows@v0", "data.row@v1", "data.rows"]')) == (
        "step.a.inputs: 'rows@v0' does not name a version: versions are counted from 1",
        'step.a.inputs: there is no "data.row"; did you mean "data.rows"?',
        'step.a.inputs: "data.rows" is there twice; a step of its own can read the other version',
    )
    assert problems(MINIMAL.replace('["step.a"]', '["step.a@v1"]')) == (
        'model.fraud.inputs: there is no "step.a@v1"; did you mean "step.a"?',
    )
    first = MINIMAL.replace('["step.a"]', '["data.pictures", "step.a"]') + pictures + 'watch = "in/*"\n'
    assert problems(first) == (
        "data.pictures.watch: belongs to a table; a dataset of files grows by `conveyor data add`",
        "model.fraud.inputs: the first input holds the rows to learn from; make them of the files in a step",
    )
    assert problems(MINIMAL + pictures.replace("files", "file")) == (
        'data.pictures.kind: unknown kind "file"; did you mean "files"?',
    )


def test_all_at_once() -> None:
    found = problems(
        MINIMAL.replace('"shop"', "3")
        .replace("metric =", "metrik =")
        .replace('uses = ["model.fraud"]', 'uses = ["model.fruad"]\nroute = "web"\nreplicas = "two"')
    )
    assert found == (
        'model.fraud.metrik: unknown key; did you mean "metric"?',
        "model.fraud.metric: missing; expected a string",
        'service.web.replicas: expected an integer, found the string "two"',
        "project.name: expected a string, found the integer 3",
        'service.web.route: expected a path that starts with "/", found "web"',
        'service.web.uses: there is no "model.fruad"; did you mean "model.fraud"?',
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'time = "at"',
            'time = "at"\nwatch = ["/etc/*"]',
            "data.rows.watch: expected a pattern below this folder such as",
        ),
        ('time = "at"', 'time = "at"\nwatch = "a**/b"', 'data.rows.watch: "a**/b" matches no files'),
        ('time = "at"', 'time = "at"\nwatch = "s3://bucket"', "data.rows.watch: expected a pattern below this folder"),
        ('time = "at"', 'time = "at"\nlimits = { memory_mb = 1 }', "data.rows.limits.memory_mb: must be at least 512"),
        (
            'time = "at"',
            'time = "at"\nevery = "5m"',
            "data.rows.every: belongs to a dataset with a `source` or a `query`",
        ),
        ('time = "at"', 'time = "at"\nsource = "a:b"', "data.rows.every: expected either `every` or `schedule`"),
        (
            'time = "at"',
            'time = "at"\nsource = "a:b"\nschedule = "0 25 * * *"',
            'data.rows.schedule: "0 25 * * *" is not a cron expression',
        ),
        (
            'time = "at"',
            'time = "at"\nquery = "SELECT 1"\nevery = "5m"\nurl = "U"\ncursor = "id"',
            "data.rows.query: expected :cursor in it",
        ),
        (
            'time = "at"',
            'time = "at"\nquery = "SELECT 1 WHERE id > :cursor"\nevery = "5m"\ncursor = "id"',
            "data.rows.url: missing; a `query` needs it",
        ),
        ("[step.a]", "[steps.a]", 'steps: unknown section; did you mean "step"?'),
        ('"step.a"', '"step.b"', 'model.fraud.inputs: there is no "step.b"; did you mean "step.a"?'),
        ('"step.a"', '"rows"', 'model.fraud.inputs: there is no "rows"; did you mean "data.rows"?'),
        ('"data.rows"', '"step.a"', "step.a.inputs: a step cannot wait for itself: step.a -> step.a"),
        (
            '"7d"',
            '"7"',
            'data.rows.label.delay: expected a duration such as "28d", "6h", "2m" or "0.5s", found the string "7"',
        ),
        ('time = "at"', "", "data.rows.label.delay: a delay is counted from the event time; name its column in `time`"),
        (
            'label = { column = "y", delay = "7d" }',
            "",
            "model.fraud.inputs: none of the datasets behind them has a `label`",
        ),
        ('"shop.fraud:train"', '"shop/fraud.py"', 'model.fraud.train: expected "module:name" such as'),
        ('"roc_auc"', '"auc"', 'model.fraud.metric: unknown metric "auc"; did you mean "roc_auc"?'),
        (
            '"roc_auc"',
            '"roc_auc"\ngates = { mae = { max = 1 } }',
            "model.fraud.gates.mae: a gate on another metric than",
        ),
        ('"roc_auc"', '"roc_auc"\ngates = { roc_auc = { mn = 1 } }', "model.fraud.gates.roc_auc.mn: unknown key"),
        (
            '"roc_auc"',
            '"roc_auc"\ngates = { latency_p99_ms = 5 }',
            "model.fraud.gates.latency_p99_ms: expected a table",
        ),
        (
            '"roc_auc"',
            '"roc_auc"\nretrain = { on = ["dat"] }',
            'model.fraud.retrain.on: unknown trigger "dat"; did you',
        ),
        (
            '"roc_auc"',
            '"roc_auc"\nretrain = { schedule = "0 3 * *" }',
            'model.fraud.retrain.schedule: "0 3 * *" is not',
        ),
        ('"roc_auc"', '"roc_auc"\nretrain = { schedule = "0 3 31 2 *" }', "model.fraud.retrain.schedule:"),
        (
            '"roc_auc"',
            '"roc_auc"\nrollout = { steps = [5, 50] }',
            "model.fraud.rollout.steps: expected percents that rise",
        ),
        (
            '"roc_auc"',
            '"roc_auc"\nrollout = { steps = [5, true] }',
            "model.fraud.rollout.steps: item 2: expected an integer",
        ),
        (
            '"roc_auc"',
            '"roc_auc"\nseed = 9223372036854775808',
            "model.fraud.seed: expected an integer, found an integer beyond",
        ),
        ('"serve"', '"serve"\n[service.b]\nrun = "s"', 'service.b.route: "/" is already the route of service.web'),
        ('"serve"', '"serve"\nroute = "/v2/x"', 'service.web.route: model endpoints answer under "/v2"'),
        ("[service.web]", "[service.Web]", "service.Web: a name is a lower-case letter"),
        ('run = "shop.features:build"', "", "step.a: needs either `run` (a function) or `command`"),
    ],
)
def test_each_problem_is_told(old: str, new: str, said: str) -> None:
    assert old in MINIMAL
    assert any(problem.startswith(said) for problem in problems(MINIMAL.replace(old, new))), problems(
        MINIMAL.replace(old, new)
    )


def test_a_cycle_is_told_once() -> None:
    steps = "".join(f'[step.{a}]\nrun = "m:f"\ninputs = ["step.{b}"]\n' for a, b in ("xy", "yz", "zx", "wx"))
    cycle = "step.x.inputs: a step cannot wait for itself: step.x -> step.y -> step.z -> step.x"
    assert problems('[project]\nname = "p"\n' + steps) == (cycle,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb = = 2", "line 2, column 5: not TOML: invalid value"),
        ("[project", "line 1, column 9: not TOML: expected ']'"),
        ("[a]\n[a]", "line 2, column 3: not TOML: cannot declare ('a',) twice"),
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("x = " + "1" * 5000, "not TOML: "),
    ],
)
def test_what_is_not_toml_is_told_with_its_place(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(said)


def places(table: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of the document."""
    below = [place for key, value in table.items() if isinstance(value, dict) for place in places(value, (*at, key))]
    return [(*at, key) for key in table] + below


DOCUMENT = tomllib.loads(REFERENCE)
FREE = ("params", "env", "rules", "also", "space")  # below these, keys are the user's
VALUES = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.lists(st.integers(), max_size=3),
)
NAMES = sorted({place[-1] for place in places(DOCUMENT)})
KEYS = st.one_of(st.text(max_size=8), st.sampled_from(NAMES))


def dump_key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007F")


def dump(table: dict[str, Any]) -> str:
    """Any nested value as TOML, by inline tables."""

    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{dump_key(k)} = {value(v)}" for k, v in item.items()) + " }"
        if isinstance(item, list):
            return "[" + ", ".join(map(value, item)) + "]"
        if isinstance(item, float):
            return repr(item)
        return dump_key(item) if isinstance(item, str) else json.dumps(item)

    return "\n".join(f"{dump_key(key)} = {value(item)}" for key, item in table.items())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_a_key_loads_or_is_told(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(DOCUMENT)))
    change = data.draw(st.sampled_from(["delete", "rename", "retype"]))
    document = copy.deepcopy(DOCUMENT)
    table = document
    for key in place[:-1]:
        table = table[key]
    value = table.pop(place[-1])
    new = data.draw(KEYS) if change == "rename" else place[-1]
    if change != "delete":
        table[new] = data.draw(VALUES) if change == "retype" else value
    try:
        load(dump(document))
    except ConfigInvalid as invalid:
        told = invalid.problems
        assert all(": " in problem for problem in told)
    else:
        told = ()
    a_field = len(place) > 2 and not set(place) & set(FREE)
    if a_field and new not in NAMES:
        assert any(problem.startswith(dotted((*place[:-1], new)) + ": unknown key") for problem in told)
    if told and a_field and change == "retype" and place[0] != "data" and place[-1] not in ("inputs", "max"):
        assert any(problem.startswith(dotted(place)) for problem in told)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(REFERENCE) - 1), st.integers(0, 40), st.text(max_size=10))
def test_any_edit_of_the_text_loads_or_is_told(start: int, length: int, text: str) -> None:
    with contextlib.suppress(ConfigInvalid):
        load(REFERENCE[:start] + text + REFERENCE[start + length :])
