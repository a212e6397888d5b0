"""What an unmodified MLflow client does with a server, and what it is answered: `python mlflow_story.py OUT.json`.

Run in an environment with mlflow, by MLFLOW_TRACKING_URI. Ids and times differ between two servers, so answers are
written by the names that the story gave.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
import numpy as np  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

Told = list[tuple[str, Any]]


class Story:
    def __init__(self) -> None:
        self.told: Told = []
        self.names: dict[str, str] = {}
        self.client = MlflowClient()

    def tell(self, name: str, call: Callable[[], Any]) -> Any:
        """Calls, and keeps the answer, or the code of the error."""
        try:
            answer = call()
            shown = self.plain(answer)
        except MlflowException as error:
            answer, shown = None, f"error {error.error_code}"
        self.told.append((name, shown))
        return answer

    def plain(self, value: Any) -> Any:
        if isinstance(value, float):
            return "NaN" if math.isnan(value) else round(value, 9)
        if isinstance(value, str):
            for id_, name in self.names.items():
                value = value.replace(id_, name)
            return value
        if value is None or isinstance(value, int | bool):
            return value
        if isinstance(value, dict):
            return {str(key): self.plain(each) for key, each in sorted(value.items())}
        if isinstance(value, list | tuple) or type(value).__name__ in ("PagedList", "RepeatedScalarContainer"):
            return [self.plain(each) for each in value]
        return self.plain(shown_of(value))


def shown_of(value: Any) -> Any:
    """The fields of MLflow's entities that do not depend on time and server."""
    kind = type(value).__name__
    if kind == "Run":
        shown = {"name": value.info.run_name, "status": value.info.status, "stage": value.info.lifecycle_stage}
        shown |= {"uri": value.info.artifact_uri.partition(":")[0], "user": value.info.user_id}
        tags = {name: text for name, text in value.data.tags.items() if not name.startswith("mlflow.source")}
        tags = {name: text for name, text in tags.items() if name not in ("mlflow.log-model.history", "mlflow.user")}
        shown |= {"metrics": value.data.metrics, "params": value.data.params, "tags": tags}
        datasets = [(each.dataset.name, each.dataset.digest) for each in value.inputs.dataset_inputs]
        return shown | {"datasets": datasets, "outputs": len(value.outputs.model_outputs if value.outputs else ())}
    fields = {
        "Experiment": ("name", "lifecycle_stage", "tags"),
        "Metric": ("key", "value", "timestamp", "step"),
        "FileInfo": ("path", "is_dir"),
        "RegisteredModel": ("name", "description", "tags", "aliases"),
        "ModelVersion": ("name", "version", "status", "description", "tags", "aliases", "current_stage"),
        "LoggedModel": ("name", "status", "params", "tags", "model_type"),
    }[kind]
    return {field: getattr(value, field) for field in fields}


def experiments(story: Story) -> str:
    client, tell = story.client, story.tell
    made = tell("create experiment", lambda: bool(client.create_experiment("trees", tags={"team": "risk"})))
    assert made
    id_ = str(client.get_experiment_by_name("trees").experiment_id)
    story.names[f"/{id_}/"] = "/trees/"
    tell("create it again", lambda: client.create_experiment("trees"))
    tell("get it", lambda: client.get_experiment(id_))
    tell("get none", lambda: client.get_experiment("77777"))
    tell("get none by name", lambda: client.get_experiment_by_name("nothing"))
    client.set_experiment_tag(id_, "stage", "early")
    other = client.create_experiment("other")
    tell("rename", lambda: client.rename_experiment(other, "renamed"))
    tell("rename to one that is", lambda: client.rename_experiment(other, "trees"))
    tell("delete", lambda: client.delete_experiment(other))
    tell("search active", lambda: client.search_experiments(order_by=["name ASC"]))
    tell("search deleted", lambda: client.search_experiments(ViewType.DELETED_ONLY))
    tell("restore", lambda: client.restore_experiment(other))
    tell("search by name", lambda: client.search_experiments(filter_string="name LIKE 'tr%'"))
    tell("search by tag", lambda: client.search_experiments(filter_string="tags.stage = 'early'"))
    return id_


def runs(story: Story, experiment: str) -> list[str]:
    client, tell = story.client, story.tell
    made = []
    for number in range(8):
        run = client.create_run(experiment, start_time=1_700_000_000_000 + number, run_name=f"run {number}")
        story.names[run.info.run_id] = f"RUN{number}"
        made.append(run.info.run_id)
        client.log_param(run.info.run_id, "depth", number % 3)
        client.log_metric(run.info.run_id, "loss", 1 / (number + 1), timestamp=number, step=1)
        client.set_tag(run.info.run_id, "half", "upper" if number > 3 else "lower")
        if number != 5:
            client.log_metric(run.info.run_id, "auc", number / 10, timestamp=5, step=0)
    first = made[0]
    for step in (3, 1, 2):
        client.log_metric(first, "curve", step * 1.5, timestamp=100 - step, step=step)
    client.log_metric(first, "curve", 4.5, timestamp=97, step=3)
    client.log_metric(made[6], "auc", float("nan"), timestamp=6, step=1)
    client.log_metric(made[7], "big", float("inf"), timestamp=1, step=0)
    tell("run", lambda: client.get_run(first))
    tell("run that is not", lambda: client.get_run("0" * 32))
    tell("history", lambda: client.get_metric_history(first, "curve"))
    tell("history of none", lambda: client.get_metric_history(first, "nothing"))
    tell("infinite", lambda: client.get_run(made[7]).data.metrics["big"])
    tell("same param", lambda: client.log_param(first, "depth", 0))
    tell("param changed", lambda: client.log_param(first, "depth", 9))
    tell("param named badly", lambda: client.log_param(first, "a\nb", 9))
    tell("metric named badly", lambda: client.log_metric(first, "../x", 9))
    tell("metric of none", lambda: client.log_metric("f" * 32, "x", 9))
    batch = [Metric(f"m{number % 3}", number, number, number) for number in range(30)]
    tell("batch", lambda: client.log_batch(first, batch, [Param("p1", "x")], [RunTag("t", "y")]))
    tell("batch with a changed param", lambda: client.log_batch(first, batch, [Param("p1", "z")], [RunTag("t2", "y")]))
    tell("after the batches", lambda: client.get_run(first))
    tell("delete tag", lambda: client.delete_tag(first, "t"))
    tell("delete no tag", lambda: client.delete_tag(first, "t"))
    tell("rename run", lambda: client.update_run(first, name="zero"))
    tell("finish", lambda: client.set_terminated(first, "FINISHED", end_time=1_700_000_009_000))
    tell("finished", lambda: client.get_run(first))
    tell("delete run", lambda: client.delete_run(made[1]))
    tell("log to a deleted one", lambda: client.log_metric(made[1], "x", 1))
    return made


SEARCHES: tuple[tuple[str, list[str]], ...] = (
    ("", []),
    ("metrics.loss < 0.3", ["metrics.loss ASC"]),
    ("metrics.auc >= 0.2 and params.depth = '2'", []),
    ("", ["metrics.auc DESC"]),
    ("", ["metrics.auc ASC", "params.depth DESC"]),
    ("metrics.auc != 0.2", []),
    ("params.depth != '1'", ["attributes.start_time ASC"]),
    ("tags.half = 'upper'", ["tags.half ASC", "metrics.loss DESC"]),
    ("tags.half LIKE 'UP%'", []),
    ("tags.half ILIKE 'UP%'", ["attributes.run_name DESC"]),
    ("attributes.run_name = 'run 3'", []),
    ("attributes.status = 'FINISHED'", []),
    ("attributes.start_time > 1700000000004", []),
    ("tags.nothing IS NULL and params.depth IS NOT NULL", ["run_id ASC"]),
    ('params.p1 = "x"', []),
    ("run_name LIKE 'run%' AND metrics.loss > 0.2", []),
    ("", ["params.nothing ASC"]),
    ("dataset.name = 'numbers'", []),
    ("metrics.auc = 'x'", []),
    ("metrics.auc > 1 OR metrics.auc < 2", []),
    ("colour = 'red'", []),
)


def searches(story: Story, experiment: str) -> None:
    client, tell = story.client, story.tell

    def ask(text: str, orders: list[str], view: int = ViewType.ACTIVE_ONLY) -> Any:
        return [run.info.run_name for run in client.search_runs([experiment], text, view, order_by=orders)]

    for text, orders in SEARCHES:
        if orders != ["run_id ASC"]:
            tell(f"search {text!r} by {orders}", lambda text=text, orders=orders: ask(text, orders))
        else:
            tell(f"search {text!r}", lambda text=text, orders=orders: sorted(ask(text, orders)))
    tell("search deleted runs", lambda: ask("", [], ViewType.DELETED_ONLY))
    tell("search all", lambda: ask("", [], ViewType.ALL))
    first = client.search_runs([experiment], order_by=["metrics.loss ASC"], max_results=3)
    second = client.search_runs([experiment], order_by=["metrics.loss ASC"], max_results=3, page_token=first.token)
    third = client.search_runs([experiment], order_by=["metrics.loss ASC"], max_results=3, page_token=second.token)
    pages = [[run.info.run_name for run in page] for page in (first, second, third)]
    story.told.append(("pages", [*pages, bool(second.token), bool(third.token)]))
    tell("a bad token", lambda: client.search_runs([experiment], page_token="nonsense"))
    tell("as a frame", lambda: sorted(mlflow.search_runs([experiment])["params.depth"].tolist()))


def artifacts(story: Story, run: str) -> None:
    client, tell = story.client, story.tell
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "notes.txt").write_text("hello")
        (place / "deep" / "er").mkdir(parents=True)
        (place / "deep" / "er" / "data #1.bin").write_bytes(bytes(range(256)) * 5000)
        client.log_artifact(run, str(place / "notes.txt"))
        client.log_artifacts(run, str(place / "deep"), "folder")
        client.log_dict(run, {"a": [1, 2]}, "told/a.json")
        tell("artifacts", lambda: client.list_artifacts(run))
        tell("artifacts in a folder", lambda: client.list_artifacts(run, "folder/er"))
        tell("artifacts in none", lambda: client.list_artifacts(run, "nowhere"))
        got = place / "got"
        got.mkdir()
        tell("download", lambda: Path(client.download_artifacts(run, "notes.txt", str(got))).read_text())
        whole = Path(client.download_artifacts(run, "folder", str(got)))
        story.told.append(("downloaded", sorted((p.name, p.stat().st_size) for p in whole.rglob("*") if p.is_file())))


def models(story: Story, experiment: str) -> None:
    client, tell = story.client, story.tell
    mlflow.set_experiment("trees")
    rows = np.random.default_rng(7).normal(size=(200, 3))
    labels = (rows[:, 0] + rows[:, 1] > 0).astype(int)
    mlflow.sklearn.autolog(log_datasets=True, silent=True, serialization_format="skops")
    with mlflow.start_run(run_name="auto") as run:
        model = LogisticRegression(C=0.5).fit(rows, labels)
    story.names[run.info.run_id] = "AUTO"
    mlflow.sklearn.autolog(disable=True)
    logged = client.get_run(run.info.run_id)
    tell("autolog", lambda: [logged.data.params, sorted(logged.data.metrics), len(logged.inputs.dataset_inputs)])
    tell("autolog's models", lambda: [m.status for m in client.search_logged_models([experiment])])
    with mlflow.start_run(run_name="by hand") as run:
        info = mlflow.sklearn.log_model(
            model, name="clf", registered_model_name="clf", pip_requirements=["scikit-learn"]
        )
        mlflow.log_metric("score", 0.75, model_id=info.model_id)
    story.names[info.model_id] = "MODEL"
    tell("logged model", lambda: client.get_logged_model(info.model_id))
    found = client.search_logged_models([experiment], "name = 'clf' AND metrics.score > 0.5")
    story.told.append(("search logged models", [model.name for model in found]))
    tell("its metrics", lambda: [(m.key, m.value) for m in client.get_logged_model(info.model_id).metrics])
    client.set_logged_model_tags(info.model_id, {"a": "b"})
    tell("tagged", lambda: client.get_logged_model(info.model_id).tags["a"])
    tell("version", lambda: client.get_model_version("clf", "1"))
    tell("register again", lambda: mlflow.register_model(info.model_uri, "clf").version)
    tell("alias", lambda: client.set_registered_model_alias("clf", "live", "2"))
    tell("alias of none", lambda: client.set_registered_model_alias("clf", "live", "9"))
    tell("by alias", lambda: client.get_model_version_by_alias("clf", "live"))
    tell("by no alias", lambda: client.get_model_version_by_alias("clf", "nothing"))
    loaded = mlflow.sklearn.load_model("models:/clf@live")
    story.told.append(("loaded", [float(x) for x in loaded.predict_proba(rows[:5])[:, 1].round(9)]))
    general = mlflow.pyfunc.load_model("models:/clf/1")
    story.told.append(("loaded as pyfunc", [int(x) for x in general.predict(rows[:5])]))


def registry(story: Story) -> None:
    client, tell = story.client, story.tell
    tell("registered", lambda: client.get_registered_model("clf"))
    tell("create one", lambda: client.create_registered_model("empty", {"k": "v"}, "nothing in it"))
    tell("create it again", lambda: client.create_registered_model("empty"))
    tell("get none", lambda: client.get_registered_model("none"))
    tell("describe", lambda: client.update_registered_model("empty", "still nothing"))
    tell("tag", lambda: client.set_registered_model_tag("empty", "more", "1"))
    tell("search", lambda: [model.name for model in client.search_registered_models("name LIKE 'e%'")])
    tell("search all", lambda: client.search_registered_models(order_by=["name DESC"]))
    tell("versions", lambda: client.search_model_versions("name = 'clf'", order_by=["version_number ASC"]))
    tell("tag a version", lambda: client.set_model_version_tag("clf", "1", "checked", "yes"))
    tell("describe a version", lambda: client.update_model_version("clf", "1", "the first"))
    tell("version as it is", lambda: client.get_model_version("clf", "1"))
    tell("version that is not", lambda: client.get_model_version("clf", "9"))
    tell("latest", lambda: client.get_latest_versions("clf"))
    tell("untag", lambda: client.delete_model_version_tag("clf", "1", "checked"))
    tell("delete a version", lambda: client.delete_model_version("clf", "1"))
    tell("deleted", lambda: client.get_model_version("clf", "1"))
    tell("rename", lambda: client.rename_registered_model("empty", "emptier"))
    tell("delete alias", lambda: client.delete_registered_model_alias("clf", "live"))
    tell("without alias", lambda: client.get_registered_model("clf"))
    tell("delete", lambda: client.delete_registered_model("emptier"))
    tell("gone", lambda: client.get_registered_model("emptier"))


def main(out: Path) -> None:
    story = Story()
    experiment = experiments(story)
    made = runs(story, experiment)
    searches(story, experiment)
    artifacts(story, made[2])
    models(story, experiment)
    registry(story)
    out.write_text(json.dumps(story.told, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
