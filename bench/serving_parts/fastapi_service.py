"""FastAPI under uvicorn, as its documentation has it."""

import os

import joblib
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["BENCH_MODEL"] + "/model.joblib")


class Asked(BaseModel):
    row: list[float]


@app.get("/health")
def health() -> dict:
    return {}


@app.post("/predict")
async def predict(asked: Asked) -> dict:
    return {"output": model.predict_proba([asked.row])[0].tolist()}
