"""The recipe of a training: features, training, evaluation, gates; then a model version is ready or refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from conveyor.delivery.attest import attest
from conveyor.delivery.inputs import (
    Inputs,
    cache_key,
    datasets_of,
    labelled_rows,
    labels_known_until,
    sources_of,
    steps_before,
)
from conveyor.delivery.logged import logged_scores
from conveyor.delivery.lookup import live_model, manifest_of
from conveyor.delivery.project_steps import ProjectSteps, new_step
from conveyor.delivery.step_run import remember
from conveyor.delivery.targets import server_for
from conveyor.domain import gate, wire
from conveyor.domain.evaluation import Backtest, Evaluation, Served
from conveyor.domain.form import FILES, MANIFEST, artifact_of, form_of
from conveyor.domain.gates.decide import decide
from conveyor.domain.model import ModelManifest, ModelStatus, ModelVersion
from conveyor.domain.plan import edges_of
from conveyor.domain.project import ModelConfig, ProjectConfig, Rules
from conveyor.domain.release import Build
from conveyor.domain.run import Run, Step
from conveyor.domain.step import (
    BACKTEST,
    EVALUATE,
    MEASURE,
    TRAIN,
    VERIFY,
    BacktestSpec,
    EvaluateSpec,
    InputSpec,
    LiveModel,
    MeasureSpec,
    TrainingReport,
    TrainSpec,
)
from conveyor.effects.source import code_digest
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, SPEC, Command
from conveyor.errors import Conflict
from conveyor.stores.collections import BUILDS, MODEL_VERSIONS
from conveyor.stores.records import Transaction

KIND = "train"


def new_run(
    id_: str, build: Build, model: ModelConfig, data: dict[str, int], trigger: str, reason: str, now: datetime
) -> Run:
    config = build.config
    edges = edges_of(config.steps)
    params = {"model": model.name, "build": build.id, "data": data, "trigger": trigger}
    steps = [new_step(config.steps[name], edges[name]) for name in steps_before(config, model.inputs)]
    before = tuple(step.name for step in steps)
    steps.append(Step(TRAIN, needs=before, timeout=model.timeout))
    steps.append(Step(EVALUATE, needs=(TRAIN,), timeout=timedelta(hours=1)))
    steps.append(Step(VERIFY, needs=(EVALUATE,), timeout=timedelta(minutes=2)))
    if model.gates.costs:
        steps.append(Step(MEASURE, needs=(VERIFY,), timeout=timedelta(minutes=10)))
    if model.backtest.folds:
        steps.append(Step(BACKTEST, needs=before, timeout=model.timeout * model.backtest.folds))
    return Run(id_, build.project, KIND, f"{build.project}/{model.name}", params, tuple(steps), now, reason=reason)


def train_spec(
    config: ProjectConfig,
    model: ModelConfig,
    inputs: tuple[InputSpec, ...],
    label: str,
    time: str,
    known_until: datetime,
) -> TrainSpec:
    """What a training is told, live as in a replay. The first of the inputs has the label and the event time."""
    return TrainSpec(
        model=model.name,
        function=model.train,
        inputs=inputs,
        label=label,
        time=time,
        known_until=known_until,
        metric=model.metric,
        params=model.params,
        features=model.features,
        key=inputs[0].key,
        window=model.window,
        gap=model.gap,
        holdout=model.holdout,
        slices=model.slices,
        baseline=model.gates.baseline.beat if model.gates.baseline else None,
        group=model.group,
        group_split=model.group_split,
        twice=model.gates.reproducible is not None,
        parity_tolerance=model.gates.parity_tolerance,
        seed=model.seed,
        rules=rules_of_features(config, model),
        positive=model.positive,
        trusted=model.trusted,
    )


def rules_of_features(config: ProjectConfig, model: ModelConfig) -> Rules:
    """The inline rules of the datasets behind a model; of two of one column, those of the dataset with the label."""
    found: Rules = {}
    for data in reversed(datasets_of(config, model.inputs)):
        found |= data.rules
    return found


def model_of(run: Run, build: Build) -> ModelConfig:
    """The model as this run trains it: params found by a sweep are put over those of conveyor.toml."""
    model = build.config.models[run.params["model"]]
    return replace(model, params={**model.params, **run.params.get("given", {})})


class TrainRecipe:
    kind = KIND
    at_once = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._steps = ProjectSteps(context)

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        context = self._context
        with context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
        model = model_of(run, build)
        inputs = Inputs(context, build.config, run, job / "inputs")
        if step.name in (TRAIN, BACKTEST):
            return self._train(step.name, run, build, model, inputs, job)
        if step.name == EVALUATE:
            return self._evaluate(run, build, model, job)
        if step.name == VERIFY:
            return self._verify(run, build, model, job)
        if step.name == MEASURE:
            return self._measure(run, build, model, job)
        return self._steps.prepare(run, build, step.name, job)

    def complete(self, run: Run, tx: Transaction) -> Run:
        """Decides the gates and writes the version; nothing here can be skipped on the way to being released."""
        context = self._context
        build = tx.need(BUILDS, run.params["build"])
        model = build.config.models[run.params["model"]]
        trained, scored = run.step(TRAIN).outputs, run.step(EVALUATE).outputs
        report = wire.from_json(context.objects.get(trained["training.json"]), TrainingReport)
        manifest = wire.from_json(context.objects.get(trained["model.json"]), ModelManifest)
        evaluation = wire.from_json(context.objects.get(scored["evaluation.json"]), Evaluation)
        if model.backtest.folds:
            earlier = run.step(BACKTEST).outputs["backtest.json"]
            evaluation = replace(evaluation, backtest=wire.from_json(context.objects.get(earlier), Backtest))
        if model.gates.costs:
            measured = run.step(MEASURE).outputs["served.json"]
            evaluation = replace(evaluation, served=wire.from_json(context.objects.get(measured), Served))
        banned = tuple(column for data in datasets_of(build.config, model.inputs) for column in data.banned)
        verdicts = decide(model.gates, evaluation, banned, manifest.signature.features)
        passed = gate.passed(verdicts)
        newest = tx.find(MODEL_VERSIONS, where={"model": run.subject}, limit=1)
        until, rows = self._labels(build.config, model, run)
        version = ModelVersion(
            project=run.project,
            name=model.name,
            version=newest[0].version + 1 if newest else 1,
            status=ModelStatus.READY if passed else ModelStatus.REFUSED,
            artifact=artifact_of(trained),
            signature=manifest.signature,
            metrics=evaluation.metrics | ({} if evaluation.value is None else {model.metric: evaluation.value}),
            verdicts=verdicts,
            parity=report.parity,
            run=run.id,
            commit=build.commit,
            data=run.params["data"],
            reason=run.reason,
            created=context.clock.now(),
            labelled_until=until,
            rows=rows,
            params=model_of(run, build).params,
            sweep=run.params.get("sweep", ""),
            code=self.code(build, model),
        )
        version = replace(version, provenance=attest(context, tx, build, run, version))
        tx.put(MODEL_VERSIONS, version)
        failed = [verdict.message for verdict in verdicts if verdict.outcome is not gate.Outcome.PASS]
        tx.append(
            context.event(
                "model.version_created" if passed else "model.refused",
                f"model/{run.subject}",
                run.project,
                version=version.version,
                metrics=version.metrics,
                trigger=run.params["trigger"],
                run=run.id,
                reasons=failed,
            )
        )
        remember(self._steps, run, tx)
        return replace(run, result={"version": version.version, "status": version.status, "reasons": failed})

    def failed(self, run: Run, tx: Transaction) -> None:
        """The run's own event says it all; the governor reads it. Steps that were done need not be done again."""
        remember(self._steps, run, tx)

    def code(self, build: Build, model: ModelConfig) -> str:
        """Digest of all code that the model depends on: its train function's and its steps'."""
        tree = self._context.settings.builds / build.tree
        functions = [
            model.train,
            *(run for n in steps_before(build.config, model.inputs) if (run := build.config.steps[n].run)),
        ]
        asked = [model.params, model.features, model.window, model.gap, model.holdout, model.seed, model.metric]
        asked += [model.positive] if model.positive else []
        asked += [model.group, model.group_split] if model.group_split != "past" else []
        params = wire.to_json(asked).decode()
        return cache_key(
            "code", " ".join(code_digest(tree, f) for f in functions), build.environment, {"p": params}, []
        )

    def spec_of(self, run: Run, model: ModelConfig, spec: TrainSpec) -> TrainSpec:
        """What the training is told: a trial of a sweep is told otherwise."""
        return spec

    def _labels(self, config: ProjectConfig, model: ModelConfig, run: Run) -> tuple[datetime | None, int]:
        first = sources_of(config, model.inputs)[0]
        version = Inputs(self._context, config, run).version(first)
        until = labels_known_until(config.data[first.name], version)
        manifest = manifest_of(self._context.objects, version)
        return until, version.rows if version.root else labelled_rows(manifest, until)

    def _train(self, step: str, run: Run, build: Build, model: ModelConfig, inputs: Inputs, job: Path) -> Command:
        resolved = [inputs.resolve(reference) for reference in model.inputs]
        first = resolved[0].spec
        if first.label is None or first.time is None or first.known_until is None:
            raise Conflict(
                f"model.{model.name} cannot be trained: its first input has no label and time",
                hint="Give its dataset `time` and `label` in conveyor.toml.",
            )
        specs = tuple(r.spec for r in resolved)
        spec = train_spec(build.config, model, specs, first.label, first.time, first.known_until)
        spec = self.spec_of(run, model, spec)
        how = wire.to_json(replace(spec, inputs=())).decode()
        code = code_digest(self._context.settings.builds / build.tree, model.train)
        asked: TrainSpec | BacktestSpec = spec
        if step == BACKTEST:
            asked = BacktestSpec(spec, model.backtest.folds, model.backtest.step)
            how += f" {model.backtest}"
        key = cache_key(f"{step} {model.train}", code, build.environment, model.params, resolved, how)
        return self._steps.with_files(self._steps.python(build, step, job, asked, key), resolved, job)

    def _verify(self, run: Run, build: Build, model: ModelConfig, job: Path) -> Command:
        """The model server's own code loads and scores it, with an end to its time and memory; never from a cache."""
        folder, trained = job / "candidate", run.step(TRAIN).outputs
        folder.mkdir(parents=True, exist_ok=True)
        words = ["--artifact", str(folder), "--name", model.name, "--out", str(job / OUT)]
        artifact = artifact_of(trained)
        for name, digest in artifact.items():
            shutil.copyfile(self._context.objects.path(digest), folder / name)
            words += ["--digest", f"{name}={digest}"]
        server = server_for(self._context.settings, build, model.name, artifact)
        argv = (server.python, "-m", "conveyor.serving.check", *words, *server.words)
        return Command(argv=argv, cwd=server.cwd, env=dict(server.env))

    def _evaluate(self, run: Run, build: Build, model: ModelConfig, job: Path) -> Command:
        objects = self._context.objects
        trained = run.step(TRAIN).outputs
        with self._context.records.read() as tx:
            live = live_model(tx, run.project, model.name)
        candidate = job / "candidate"
        candidate.mkdir(parents=True, exist_ok=True)
        artifact = artifact_of(trained)
        for name, digest in artifact.items():
            shutil.copyfile(objects.path(digest), candidate / name)
        against = None
        if live is not None:
            files = {name: str(objects.path(digest)) for name, digest in live.artifact.items()}
            against = LiveModel(live.version, files[FILES[form_of(files)]], files[MANIFEST])
        spec = EvaluateSpec(
            metric=model.metric,
            candidate=str(candidate),
            holdout=str(objects.path(trained["holdout.parquet"])),
            training=str(objects.path(trained["training.json"])),
            live=against,
            confidence=model.gates.metric.confidence,
            seed=model.seed,
            slices=model.slices,
            group=model.group,
            trusted=model.trusted,
            metrics=model.metrics,
            gates=model.gates,
        )
        outputs = " ".join((*artifact.values(), trained["holdout.parquet"]))
        judged = [*model.metrics, *([model.gates.behaviour] if model.gates.behaviour else [])]
        tree = self._context.settings.builds / build.tree
        code = " ".join(code_digest(tree, function) for function in judged)
        how = wire.to_json(replace(spec, candidate="", holdout="", training="", live=None)).decode()
        key = cache_key("evaluate", outputs, build.environment, {}, [], str(live.artifact if live else None), how, code)
        return self._steps.python(build, "evaluate", job, spec, key)

    def _measure(self, run: Run, build: Build, model: ModelConfig, job: Path) -> Command:
        """The version in the model server, by the Python that a rollout would serve it with."""
        artifact = artifact_of(run.step(TRAIN).outputs)
        folder = job / "candidate"
        folder.mkdir(parents=True, exist_ok=True)
        for name, digest in artifact.items():
            shutil.copyfile(self._context.objects.path(digest), folder / name)
        server = server_for(self._context.settings, build, model.name, artifact)
        holdout = run.step(TRAIN).outputs["holdout.parquet"]
        manifest = wire.from_json((folder / MANIFEST).read_bytes(), ModelManifest)
        logged = logged_scores(self._context.objects.path(holdout), manifest.signature.features)
        return Command(
            argv=(server.python, "-m", "conveyor.serving.measure", str(job / SPEC), str(job / OUT)),
            cwd=server.cwd,
            env=dict(server.env),
            key=cache_key("measure", " ".join((*artifact.values(), holdout)), build.environment, {}, []),
            spec=wire.to_json(MeasureSpec(str(folder), model.trusted, logged)),
        )
