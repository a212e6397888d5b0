"""BentoML's service, as its documentation has it."""

import os

import bentoml
import joblib


@bentoml.service(workers=int(os.environ["BENCH_WORKERS"]))
class Served:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"] + "/model.joblib")

    @bentoml.api
    def predict(self, row: list[float]) -> list[float]:
        return list(self.model.predict_proba([row])[0])
