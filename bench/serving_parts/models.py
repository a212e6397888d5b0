"""The two models that are served, and Envoy as Conveyor configures it."""

from __future__ import annotations

from pathlib import Path

FEATURES = tuple(f"f{number}" for number in range(15))


def train(kind: str, directory: Path) -> list[float]:
    """`kind`: forest or regression. Writes model.onnx, model.json and, for the peers, model.joblib; returns a row."""
    import joblib
    import numpy as np
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    from conveyor.domain import wire
    from conveyor.domain.drift import Profile
    from conveyor.domain.model import Example, ModelManifest, Score, Signature, Tensor

    data, labels = make_classification(20_000, len(FEATURES), n_informative=10, flip_y=0.05, random_state=0)
    data = data.astype(np.float32)
    estimator = RandomForestClassifier(100, max_depth=12, random_state=0) if kind == "forest" else LogisticRegression()
    model = estimator.fit(data, labels)
    types = [("input", FloatTensorType([None, len(FEATURES)]))]
    graph = to_onnx(model, initial_types=types, options={"zipmap": False})
    (directory / "model.onnx").write_bytes(graph.SerializeToString())
    row = data[0].tolist()
    signature = Signature(
        features=FEATURES,
        inputs=(Tensor("input", "FP32", (-1, len(FEATURES))),),
        outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 2))),
        score=Score("probabilities", 1),
    )
    example = Example(tuple(row), float(model.predict_proba(data[:1])[0, 1]), 1e-4)
    manifest = ModelManifest(signature, example, Profile(rows=len(data)), "sklearn")
    (directory / "model.json").write_bytes(wire.to_json(manifest))
    joblib.dump(model, directory / "model.joblib")
    return [float(value) for value in row]


def proxy(directory: Path, port: int, socket: Path) -> list[str]:
    """Envoy as Conveyor configures it for a model that is live; returns its command."""
    from conveyor.domain.routing import ANY_HOST, Cluster, Route, Routing, Weighted
    from conveyor.effects.envoy import Envoy

    envoy = Envoy(directory / "envoy", port, concurrency=1)
    envoy.write_bootstrap()
    cluster = Cluster("model.bench", (str(socket),), "/v2/health/ready")
    envoy.apply(Routing((cluster,), (Route(ANY_HOST, "/", (Weighted(cluster.name, 100, "bench@1"),)),)))
    return envoy.argv()
