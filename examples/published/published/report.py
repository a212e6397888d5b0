"""The published figures beside those of this run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl

FIGURES = ("roc_auc", "average_precision", "card_precision_100")
# Trained on 2018-07-25 to 31, tested on 2018-08-08 to 14, as the Handbook's baseline table (chapter 3) has it.
SPLIT = {
    "logistic": (0.871, 0.606, 0.291),
    "tree": (0.763, 0.496, 0.241),
    "deep_tree": (0.788, 0.309, 0.243),
    "forest": (0.867, 0.658, 0.287),
    "xgboost": (0.862, 0.639, 0.273),
}
# The grids of chapter 5, with the row of the params that `conveyor.toml` names.
WEEKS = {
    "logistic": ("Logistic_Regression", "1.000000"),
    "tree": ("Decision_Tree", "5"),
    "forest": ("Random_Forest", "100/20"),
    "xgboost": ("XGBoost", "100/0.1/3"),
}
COLUMNS = ("AUC ROC Test", "Average precision Test", "Card Precision@100 Test")
WITHIN = {"split": 0.005, "weeks": 0.01}


def write(
    logistic: pl.DataFrame,
    tree: pl.DataFrame,
    deep_tree: pl.DataFrame,
    forest: pl.DataFrame,
    xgboost: pl.DataFrame,
    data: str,
) -> None:
    """`report.md` for people; `report.json` with what counts: cells, cells beyond tolerance, the largest difference."""
    frames = {"logistic": logistic, "tree": tree, "deep_tree": deep_tree, "forest": forest, "xgboost": xgboost}
    lines = ["| table | model | figure | published | here | difference | served as |", "|---|---|---|---|---|---|---|"]
    apart = {"split": [0.0], "weeks": [0.0]}
    beyond = 0
    for model, frame in frames.items():
        for table, figure, ours, form, _ in frame.iter_rows():
            published = _published(table, model, Path(data))[FIGURES.index(figure)]
            difference = ours - published
            apart[table].append(abs(difference))
            beyond += abs(difference) > WITHIN[table]
            mark = f"{difference:+.4f}" + (" (!)" if abs(difference) > WITHIN[table] else "")
            lines.append(f"| {table} | {model} | {figure} | {published:.3f} | {ours:.4f} | {mark} | {form} |")
    Path("report.md").write_text("\n".join(lines) + "\n")
    figures = {"cells": sum(frame.height for frame in frames.values()), "beyond": beyond}
    figures |= {f"largest_difference_{table}": round(max(each), 4) for table, each in apart.items()}
    figures["largest_parity"] = max(frame["parity"].max() for frame in frames.values())
    Path("report.json").write_text(json.dumps(figures) + "\n")
    print("\n".join(lines))


def _published(table: str, model: str, data: Path) -> tuple[float, ...]:
    if table == "split":
        return SPLIT[model]
    name, params = WEEKS[model]
    with (data / "published_baselines" / f"ch5_model_selection__{name}.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["Parameters summary"] == params)
    return tuple(float(row[column]) for column in COLUMNS)
