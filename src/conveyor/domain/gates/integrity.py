"""The gates on the artifact itself: no leak, the converted form scores as the original, and every score is a number."""

from __future__ import annotations

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.gates.config import LeakGate, ReproducibleGate
from conveyor.domain.gates.evidence import number, rows_of


def leak(gate: LeakGate, evaluation: Evaluation, banned: tuple[str, ...], features: tuple[str, ...]) -> Verdict:
    """A feature that the data contract bans, or one that alone ranks the holdout nearly perfectly, either way round."""
    limit = gate.max_single_feature_auc
    forbidden = [name for name in features if name in banned]
    strength = {name: max(auc, 1.0 - auc) for name, auc in evaluation.single_feature_auc.items()}
    ranked = sorted(strength, key=lambda name: (-strength[name], name))
    suspects = [name for name in ranked if strength[name] >= limit]
    if forbidden or suspects:
        columns = list(dict.fromkeys([*forbidden, *suspects]))
        reasons = [f"{name} is banned by the data contract" for name in forbidden]
        reasons += [
            f"{name} alone ranks the holdout with an area under the ROC curve of {strength[name]:.4f} (limit {limit:g})"
            for name in suspects
        ]
        message = (
            f"{'; '.join(reasons)}. Remove {', '.join(columns)} from the model's features: "
            "such a column holds the label, or what is known only after it."
        )
        return Verdict("leak", Outcome.FAIL, message, {name: strength[name] for name in columns if name in strength})
    if not ranked:
        return Verdict("leak", Outcome.PASS, "No feature is banned; single features were not scored.")
    strongest = ranked[0]
    message = (
        f"No feature is banned, and none predicts the label alone: the strongest, {strongest}, "
        f"reaches {strength[strongest]:.4f} (limit {limit:g})."
    )
    return Verdict("leak", Outcome.PASS, message, {strongest: strength[strongest]})


def parity(tolerance: float, evaluation: Evaluation) -> Verdict:
    value = number(evaluation.parity_max_abs_difference)
    figures = {"max_abs_difference": value, "tolerance": tolerance}
    if value <= tolerance:
        return Verdict(
            "parity",
            Outcome.PASS,
            f"The kept form differs from the native model by at most {value:.2g} (tolerance {tolerance:g}).",
            figures,
        )
    message = (
        f"The kept form differs from the native model by up to {value:.4g}, over the tolerance of {tolerance:g}. "
        "Often a split threshold that float32 cannot tell apart: round the features, or raise gates.parity_tolerance."
    )
    return Verdict("parity", Outcome.FAIL, message, figures)


def finite(evaluation: Evaluation) -> Verdict:
    count = evaluation.nonfinite_outputs
    figures = {"nonfinite_outputs": float(count)}
    if count == 0:
        return Verdict("finite", Outcome.PASS, f"All scores of {rows_of(evaluation)} are finite.", figures)
    message = (
        f"{count:,} of {evaluation.rows:,} scores are NaN or infinite. "
        "Look for missing values in the features, and impute them in the model's pipeline."
    )
    return Verdict("finite", Outcome.FAIL, message, figures)


def reproducible(gate: ReproducibleGate, evaluation: Evaluation) -> Verdict:
    """Trained twice from the same rows and seed: the same scores."""
    value = evaluation.twice_max_abs_difference
    if value is None:
        return Verdict("reproducible", Outcome.INSUFFICIENT, "The model was not trained twice.")
    figures = {"max_abs_difference": value, "tolerance": gate.tolerance}
    if value <= gate.tolerance:
        message = f"Trained twice, no score differs by more than {value:.3g} (tolerance {gate.tolerance:g})."
        return Verdict("reproducible", Outcome.PASS, message, figures)
    message = (
        f"Trained twice on the same rows with the same seed, scores differ by up to {value:.3g} "
        f"(tolerance {gate.tolerance:g}). Take `seed` as an argument and hand it to whatever draws at random."
    )
    return Verdict("reproducible", Outcome.FAIL, message, figures)
