"""Which of the searched fields decide whether a trial is good."""

from __future__ import annotations

import warnings

import optuna
from optuna.study import Study
from optuna.trial import TrialState, create_trial

GOOD = 0.25  # share of the trials that counts as good
FEWEST_TRIALS = 12  # so that at least three of them are good


def measure_importances(study: Study) -> dict[str, float]:
    """Each field's share in deciding whether a trial is among the best quarter (PED-ANOVA); the shares sum to 1.

    Source: Watanabe, Bansal, Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces", IJCAI 2023. Unlike fANOVA it needs no scikit-learn.

    Returns:
        The most important one first; empty with fewer than FEWEST_TRIALS trials, or if they do not differ.
    """
    trials = [each for each in study.trials if each.state in (TrialState.COMPLETE, TrialState.PRUNED) and each.values]
    names = {name for trial in trials for name in trial.params}
    trials = [trial for trial in trials if set(trial.params) == names]  # the baseline may lie outside the search
    finished = [trial.values[0] for trial in trials if trial.state == TrialState.COMPLETE]
    if len(trials) < FEWEST_TRIALS or len(set(finished)) < 2:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # loads scikit-learn if installed

    judged = optuna.create_study(direction="maximize")
    for trial in trials:
        # A pruned trial is not among the best, whatever it would have reached; the measure needs no more.
        value = trial.values[0] if trial.state == TrialState.COMPLETE else min(finished)
        judged.add_trial(create_trial(params=trial.params, distributions=trial.distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        shares = get_param_importances(judged, evaluator=PedAnovaImportanceEvaluator(target_quantile=GOOD))
    return {name: float(share) for name, share in shares.items()}
