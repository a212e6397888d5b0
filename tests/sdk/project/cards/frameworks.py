"""One fitted model of every framework and kind of task, for the shared check list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

FEATURES = ["a", "b", "c"]


def train(rows: pl.DataFrame, kind: str, task: str) -> Any:
    return globals()[kind](rows.select(FEATURES), rows["y"].to_numpy(), task)


def _unfitted_lightgbm(task: str) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMRegressor if task == "values" else LGBMClassifier)(n_estimators=20, verbose=-1, num_threads=1)


def _unfitted_xgboost(task: str) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    return (XGBRegressor if task == "values" else XGBClassifier)(n_estimators=20, n_jobs=1)


def scikit(features: pl.DataFrame, y: Any, task: str) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    forest = (RandomForestRegressor if task == "values" else RandomForestClassifier)(10, random_state=0)
    return make_pipeline(StandardScaler(), forest).fit(features, y)


def lightgbm(features: pl.DataFrame, y: Any, task: str) -> Any:
    return _unfitted_lightgbm(task).fit(features.to_pandas(), y)


def xgboost(features: pl.DataFrame, y: Any, task: str) -> Any:
    return _unfitted_xgboost(task).fit(features.to_pandas(), y)


def lightgbm_booster(features: pl.DataFrame, y: Any, task: str) -> Any:
    return lightgbm(features, y, task).booster_


def xgboost_booster(features: pl.DataFrame, y: Any, task: str) -> Any:
    return xgboost(features, y, task).get_booster()


def scaled_lightgbm(features: pl.DataFrame, y: Any, task: str) -> Any:
    return _scaled(_unfitted_lightgbm(task)).fit(features, y)


def scaled_xgboost(features: pl.DataFrame, y: Any, task: str) -> Any:
    return _scaled(_unfitted_xgboost(task)).fit(features, y)


def _scaled(last: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), last)


def _graph(features: pl.DataFrame, y: Any, task: str) -> Any:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LinearRegression, LogisticRegression

    model = (LinearRegression() if task == "values" else LogisticRegression(max_iter=2000)).fit(features.to_numpy(), y)
    options = None if task == "values" else {"zipmap": False}
    return to_onnx(model, initial_types=[("x", FloatTensorType([None, len(FEATURES)]))], options=options)


def onnx_proto(features: pl.DataFrame, y: Any, task: str) -> Any:
    return _graph(features, y, task)


def onnx_path(features: pl.DataFrame, y: Any, task: str) -> Any:
    path = Path("/tmp" if not Path("out").is_dir() else "out") / "given.onnx"
    path.write_bytes(_graph(features, y, task).SerializeToString())
    return path


class Rule:
    """No framework's: it knows the mean of each class, and says how near a row is to each."""

    def __init__(self, features: np.ndarray[Any, Any], y: Any) -> None:
        self.classes_ = np.unique(y)
        self.spread = features.std(axis=0)
        self.means = np.stack([features[y == one].mean(axis=0) for one in self.classes_])

    def predict_proba(self, rows: Any) -> Any:
        apart = (((rows[:, None, :] - self.means) / self.spread) ** 2).sum(axis=2)
        weights = np.exp(-apart)
        return weights / weights.sum(axis=1, keepdims=True)

    def predict(self, rows: Any) -> Any:
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]


class Mean:
    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def predict(self, rows: Any) -> Any:
        return rows @ self.weights


def anything(features: pl.DataFrame, y: Any, task: str) -> Any:
    given = features.to_numpy()
    return Mean(np.linalg.lstsq(given, y, rcond=None)[0]) if task == "values" else Rule(given, y)


def torch_module(features: pl.DataFrame, y: Any, task: str) -> Any:
    """A small network with its scaling inside; what it gives are probabilities, or a value."""
    import torch

    torch.manual_seed(0)
    given = torch.from_numpy(features.to_numpy().astype(np.float32))
    names, codes = np.unique(y, return_inverse=True)
    last = [torch.nn.Linear(8, 1)] if task == "values" else [torch.nn.Linear(8, len(names)), torch.nn.Softmax(1)]
    scale = torch.nn.BatchNorm1d(3)
    model = torch.nn.Sequential(scale, torch.nn.Linear(3, 8), torch.nn.Tanh(), *last)
    target = torch.from_numpy(np.asarray(y if task == "values" else np.eye(len(names))[codes], dtype=np.float32))
    target = target.reshape(len(target), -1)
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(150):
        optimiser.zero_grad()
        loss = ((model(given) - target) ** 2).mean()
        loss.backward()
        optimiser.step()
    if task != "values":
        model.classes_ = [str(name) for name in names]
    return model


def unknown_to_onnx(features: pl.DataFrame, y: Any, task: str) -> Any:
    """scikit-learn, of which skl2onnx has no form: it is kept by skops."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.neighbors import NearestCentroid

    return _scaled(KernelRidge() if task == "values" else NearestCentroid()).fit(features, y)


def dart(features: pl.DataFrame, y: Any, task: str) -> Any:
    """LightGBM with linear leaves, of which there is no ONNX form."""
    return _unfitted_lightgbm(task).set_params(linear_tree=True).fit(features.to_pandas(), y)


def unfitted_lightgbm(features: pl.DataFrame, y: Any, task: str) -> Any:
    return _unfitted_lightgbm(task)


def unfitted_xgboost(features: pl.DataFrame, y: Any, task: str) -> Any:
    return _unfitted_xgboost(task)


def damaged(features: pl.DataFrame, y: Any, task: str) -> Any:
    return b"no graph"


class Gaps(Mean):
    def predict(self, rows: Any) -> Any:
        return np.where(rows[:, 1] < 0, np.nan, super().predict(rows))


def gaps(features: pl.DataFrame, y: Any, task: str) -> Any:
    return Gaps(np.ones(3))


def not_a_number(features: pl.DataFrame, y: Any, task: str) -> Any:
    return Mean(np.array([np.nan, 0.0, 0.0]))


def crashes(features: pl.DataFrame, y: Any, task: str) -> Any:
    class Local:
        def predict(self, rows: Any) -> Any:
            return rows[:, 0]

    return Local()


def other_in_onnx(features: pl.DataFrame, y: Any, task: str) -> Any:
    """Its ONNX form is made of its coefficients, and knows nothing of what became of its method."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=2000).fit(features, y)
    plain = model.predict_proba
    model.predict_proba = lambda rows: plain(rows)[:, ::-1]
    return model


class Forgets(Mean):
    def __getstate__(self) -> dict[str, Any]:
        return {"weights": np.zeros(3)}


def forgets(features: pl.DataFrame, y: Any, task: str) -> Any:
    return Forgets(np.ones(3))
