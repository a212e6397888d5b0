"""A dvc.yaml is read as DVC reads it: names, commands and values are those that DVC writes into its dvc.lock."""

from __future__ import annotations

import pytest

from conveyor.config.dvc.read import steps_of
from conveyor.errors import ConveyorError

FILES = {
    "params.yaml": "lr: 0.1\ntrain: {epochs: 3, opts: {depth: 2, verbose: true, name: a b}}\nregions: [eu, us]\n",
    "more.json": '{"alpha": {"beta": [5, 6]}}',
    "conf.py": "SEED = 7\nclass Net:\n    width = 8\nCOMPUTED = SEED * 2\n",
    "dvc.yaml": r"""
vars:
  - more.json:alpha
  - base: data
stages:
  prepare:
    cmd:
      - echo ${alpha.beta[1]}
      - echo \${HOME} ${train.opts}
    wdir: sub
    deps: [../in.csv]
    outs:
      - ../${base}/all:
          persist: true
  each:
    foreach: ${regions}
    do:
      cmd: train ${item}
      params: [lr, train.epochs, {more.json: [alpha.beta]}, {conf.py: [SEED, Net.width]}]
      metrics: [{"m-${item}.json": {cache: false}}]
      plots: ["p-${item}.csv"]
  table:
    foreach: {one: {x: 1}, two: {x: 2}}
    do: {cmd: "echo ${key} ${item.x}", frozen: true}
  grid:
    matrix: {model: [cnn, rnn], size: [1, {w: 2}], on: [true]}
    cmd: fit ${item.model} ${key}
    always_changed: true
""",
}


def test_the_whole_language() -> None:
    steps = steps_of(lambda path: FILES[path].encode() if path in FILES else None)
    assert list(steps) == [
        "prepare", "each@eu", "each@us", "table@one", "table@two",
        "grid@cnn-1-true", "grid@cnn-size1-true", "grid@rnn-1-true", "grid@rnn-size1-true",
    ]  # fmt: skip
    prepare = steps["prepare"]
    assert prepare.command == "(\necho 6\n) && (\necho ${HOME} --depth 2 --verbose --name 'a b'\n)"
    assert (prepare.workdir, prepare.deps, prepare.outs) == ("sub", ("in.csv",), ("data/all",))
    assert prepare.persist == ("data/all",)
    each = steps["each@us"]
    assert each.params == {
        "lr": 0.1, "train.epochs": 3, "more.json:alpha.beta": [5, 6], "conf.py:SEED": 7, "conf.py:Net.width": 8,
    }  # fmt: skip
    assert (each.metrics, each.uncached, each.outs) == (("m-us.json",), ("m-us.json",), ("p-us.csv",))
    assert (steps["table@two"].command, steps["table@two"].frozen) == ("echo two 2", True)
    assert steps["table@two"].always  # without deps and outs it always runs
    assert steps["grid@cnn-size1-true"].command == "fit cnn cnn-size1-true"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stages: {a: {cmd: 'echo ${nope}'}}", "there is no value for ${nope}"),
        ("stages: {a: {cmd: x, dep: [y]}}", "unknown key 'dep'"),
        ("stages: {a: {outs: [y]}}", "has no `cmd`"),
        ("stages: {a: {cmd: x, params: [lt]}}", "there is no value for ${lt}"),
        ("stages: [", "cannot be read"),
        ("vars: [{lr: 2}]\nstages: {}", "lr is given twice"),
        ("vars: [gone.yaml]", "there is no gone.yaml"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    files = {"dvc.yaml": text, "params.yaml": "lr: 1"}
    with pytest.raises(ConveyorError) as caught:
        steps_of(lambda path: files[path].encode() if path in files else None)
    assert says in caught.value.message
