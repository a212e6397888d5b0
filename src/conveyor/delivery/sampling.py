"""Which params a trial gets, and which trials are given up: Optuna's samplers and pruners over the trials on record.

The study is made anew from the records for each question, and the sampler's seed is that of the sweep and the trial's
number: the answer depends on nothing that a crash could take away.
"""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Any

from conveyor.domain.sweep import Sweep, Trial, TrialState
from conveyor.errors import Unavailable

if TYPE_CHECKING:
    import optuna

_WARM = 5  # trials before a median is believed


def suggest(sweep: Sweep, number: int) -> dict[str, Any]:
    """The params of the trial with this number, after all those on record."""
    if sweep.config.sampler == "grid":
        axes = sorted(sweep.config.space.items())
        combinations = list(itertools.product(*(axis["choice"] for _, axis in axes)))
        return dict(zip([name for name, _ in axes], combinations[number % len(combinations)], strict=True))
    study = _study(sweep, sweep.trials[:number], number)
    return dict(study.ask(_distributions(sweep)).params)


def prune(sweep: Sweep, trial: Trial) -> bool:
    """Whether a running trial is given up by what it has reported so far."""
    if sweep.config.pruner == "none" or not trial.reported:
        return False
    study = _study(sweep, sweep.trials, trial.number)
    return bool(study.pruner.prune(study, study.trials[trial.number]))


def _study(sweep: Sweep, trials: tuple[Trial, ...], number: int) -> optuna.Study:
    optuna_ = _optuna()
    study: optuna.Study = optuna_.create_study(
        direction="maximize" if sweep.maximize else "minimize",
        sampler=_sampler(optuna_, sweep, number),
        pruner=_pruner(optuna_, sweep),
    )
    states = optuna_.trial.TrialState
    told = {
        TrialState.RUNNING: states.RUNNING,
        TrialState.SUCCEEDED: states.COMPLETE,
        TrialState.PRUNED: states.PRUNED,
        TrialState.FAILED: states.FAIL,
        TrialState.CANCELLED: states.FAIL,
    }
    distributions = _distributions(sweep)
    for trial in trials:
        state = told[trial.state]
        if state is states.COMPLETE and trial.value is None:
            state = states.FAIL
        study.add_trial(
            optuna_.trial.create_trial(
                state=state,
                params={name: trial.params[name] for name in distributions},
                distributions=distributions,
                value=trial.value if state is states.COMPLETE else None,
                intermediate_values=dict(trial.reported),
            )
        )
    return study


def _optuna() -> Any:
    """An import of 0.5 s: paid by those who sweep, when they do."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise Unavailable("sweeps need the package optuna", hint="Install conveyor[server] anew.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _sampler(optuna: Any, sweep: Sweep, number: int) -> Any:
    seed = (sweep.config.seed * 1_000_003 + number) % 2**32
    if sweep.config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # Trials that still run count as bad ones, so that those at once are not the same.
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, sweep.config.trials // 2), constant_liar=True)


def _pruner(optuna: Any, sweep: Sweep) -> Any:
    match sweep.config.pruner:
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=_WARM)
        case "halving":
            return optuna.pruners.SuccessiveHalvingPruner()
        case "hyperband":
            return optuna.pruners.HyperbandPruner()
    return optuna.pruners.NopPruner()


def _distributions(sweep: Sweep) -> dict[str, Any]:
    distributions = _optuna().distributions
    found: dict[str, Any] = {}
    for name, axis in sorted(sweep.config.space.items()):  # the order decides what is drawn, and records keep none
        if "choice" in axis:
            found[name] = distributions.CategoricalDistribution(axis["choice"])
        elif isinstance(axis["min"], int) and isinstance(axis["max"], int):
            step = axis.get("step", 1)
            found[name] = distributions.IntDistribution(axis["min"], axis["max"], log=axis.get("log", False), step=step)
        else:
            found[name] = distributions.FloatDistribution(
                axis["min"], axis["max"], log=axis.get("log", False), step=axis.get("step")
            )
    return found
