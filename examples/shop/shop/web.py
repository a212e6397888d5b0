"""The web application: takes payments, asks the fraud model, learns later which were frauds."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

import polars as pl
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from shop import features, forms, page
from shop.database import Book, Decision, connect
from shop.model import BATCH_TIMEOUT, PAYMENT_TIMEOUT, Columns, FraudModel, Scores, columns

DECLINE_FROM = 0.5
"""Fraud probability from which a payment is declined."""
RULE_LIMIT = 220.0
"""Without the model: approve below this amount."""


def create_app(database_url: str, model_url: str | None) -> FastAPI:
    engine = connect(database_url)
    shop = Shop(Book(engine), FraudModel(model_url))

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        shop.model.close()
        engine.dispose()

    app = FastAPI(title="shop", lifespan=life)

    @app.get("/", response_class=HTMLResponse)
    def home() -> str:
        return page.render(shop.book.recent(20))

    @app.get("/healthz")
    def health() -> dict[str, bool]:
        return {"ok": shop.book.ready()}

    @app.post("/pay")
    def pay(payment: forms.Payment) -> dict[str, Any]:
        return asdict(shop.pay(payment))

    @app.get("/payments/recent")
    def recent(limit: int = 50) -> list[dict[str, Any]]:
        return shop.book.recent(min(max(limit, 1), 500))

    @app.post("/settlements")
    def settlements(rows: Annotated[pl.DataFrame, Depends(_table)]) -> dict[str, int]:
        return {"rows": shop.settle(rows)}

    @app.post("/screen")
    def screen(rows: Annotated[pl.DataFrame, Depends(_table)]) -> Response:
        return Response(json.dumps(shop.screen(rows)), media_type="application/json")

    return app


class Shop:
    """What the shop does, apart from HTTP."""

    def __init__(self, book: Book, model: FraudModel) -> None:
        self.book = book
        self.model = model

    def pay(self, payment: forms.Payment) -> Decision:
        """Decide on one payment and write it down. The same payment sent again gets the same answer."""
        before = self.book.decided(payment.transaction_id)
        if before:
            return before
        near = self.book.near(payment.transaction_id, payment.customer_id, payment.terminal_id, payment.micros)
        scores = self.model.score(_row(near, payment), PAYMENT_TIMEOUT)
        if scores:
            score = scores.values[0]
            decision = Decision(
                payment.transaction_id, score < DECLINE_FROM, score, scores.prediction_id, scores.model_version
            )
        else:
            decision = Decision(payment.transaction_id, payment.amount < RULE_LIMIT, None, None, None)
        self.book.decide(payment.micros, payment.customer_id, payment.terminal_id, payment.amount, decision)
        return decision

    def settle(self, rows: pl.DataFrame) -> int:
        if forms.is_whole(rows):
            return self.book.settle(_with_label(rows))
        if set(rows.columns) == {features.KEY, features.LABEL}:
            return self.book.label(rows.drop_nulls())
        raise HTTPException(422, "send whole transactions, or transaction_id and fraud only")

    def screen(self, rows: pl.DataFrame) -> dict[str, Any]:
        """Score many transactions at once against the shop's own history; writes nothing."""
        if not forms.is_whole(rows) or rows.is_empty():
            raise HTTPException(422, "send whole transactions: " + ", ".join(sorted(forms.WHOLE)))
        wanted = _with_label(rows)
        times = wanted[features.TIME].dt.timestamp("us")
        start = int(times.min()) - features.REACH_DAYS * features.DAY  # type: ignore[arg-type]
        history = self.book.history(start).filter(
            pl.col(features.TIME).is_between(pl.from_epoch(pl.lit(start), "us"), wanted[features.TIME].max())
        )
        history = history.join(wanted, on=features.KEY, how="anti")
        scores = self.model.score(columns(features.at(pl.concat([history, wanted]), wanted)), BATCH_TIMEOUT)
        return _screened(wanted, scores)


def _row(near: pl.DataFrame, payment: forms.Payment) -> Columns:
    raw = (payment.transaction_id, payment.moment, payment.customer_id, payment.terminal_id, payment.amount, None)
    found = features.online(near, dict(zip(features.RAW, raw, strict=True)))
    key_and_time = {features.KEY: [payment.transaction_id], features.TIME: [payment.micros]}
    return {**key_and_time, **{name: [value] for name, value in found.items()}}


def _screened(rows: pl.DataFrame, scores: Scores | None) -> dict[str, Any]:
    found = scores.values if scores else [None] * rows.height
    approved = (
        [score < DECLINE_FROM for score in scores.values] if scores else (rows["TX_AMOUNT"] < RULE_LIMIT).to_list()
    )
    version, prediction = (scores.model_version, scores.prediction_id) if scores else (None, None)
    keys = rows[features.KEY].to_list()
    return {
        "transaction_id": keys,
        "score": found,
        "approved": approved,
        "model_version": version,
        "prediction_id": prediction,
    }


def _with_label(rows: pl.DataFrame) -> pl.DataFrame:
    label = pl.lit(None, pl.Int8).alias(features.LABEL)
    return (rows if features.LABEL in rows.columns else rows.with_columns(label)).select(features.RAW)


async def _raw(request: Request) -> tuple[bytes, str]:
    return await request.body(), request.headers.get("content-type", "")


def _table(raw: Annotated[tuple[bytes, str], Depends(_raw)]) -> pl.DataFrame:
    try:
        return forms.table(*raw)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


app = create_app(os.environ.get("DATABASE_URL", "sqlite:///shop.db"), os.environ.get("CONVEYOR_MODEL_FRAUD"))
