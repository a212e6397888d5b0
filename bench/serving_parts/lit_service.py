"""LitServe's service, as its documentation has it."""

import os
import sys

import joblib
import litserve


class Served(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"] + "/model.joblib")

    def decode_request(self, request: dict) -> list[float]:
        return request["row"]

    def predict(self, row: list[float]) -> list[float]:
        return self.model.predict_proba([row])[0].tolist()

    def encode_response(self, output: list[float]) -> dict:
        return {"output": output}


if __name__ == "__main__":
    workers = int(os.environ["BENCH_WORKERS"])
    litserve.LitServer(Served(), accelerator="cpu", workers_per_device=workers).run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False
    )
