"""Figures that stay honest where one class has nearly all rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from .split import runs

Array = NDArray[Any]


def rounded(value: float) -> float | None:
    return None if not np.isfinite(value) else round(float(value), 6)


def classification(truth: Array, said: Array, score: Array, classes: int) -> dict[str, Any]:
    """score: of `not normal`, for the PR-AUC of class 0 against all others."""
    labels = list(range(classes))
    matrix = sk.confusion_matrix(truth, said, labels=labels)
    return {
        "rows": len(truth),
        "accuracy": rounded(sk.accuracy_score(truth, said)),
        "majority_class_rate": rounded(np.bincount(truth, minlength=classes).max() / len(truth)),
        "balanced_accuracy": rounded(
            float(np.mean([matrix[k, k] / matrix[k].sum() for k in labels if matrix[k].sum()]))
        ),
        "mcc": rounded(sk.matthews_corrcoef(truth, said)),
        "pr_auc": rounded(sk.average_precision_score(truth != 0, score)),
        "pr_auc_of_chance": rounded(float(np.mean(truth != 0))),
        "confusion": matrix.tolist(),
    }


def binary(truth: Array, said: Array, score: Array) -> dict[str, Any]:
    found = classification(truth, said, score, 2)
    matrix = np.array(found["confusion"])
    found["recall"] = rounded(matrix[1, 1] / max(matrix[1].sum(), 1))
    found["precision"] = rounded(matrix[1, 1] / max(matrix[:, 1].sum(), 1))
    return found


def alarms(said: Array) -> int:
    """Alarms as an operator counts them: how often `normal` turns into something else."""
    return len(runs(np.asarray(said) != 0))


def regression(truth: Array, said: Array) -> dict[str, Any]:
    error = np.asarray(said, np.float64) - np.asarray(truth, np.float64)
    return {
        "rows": len(error),
        "rmse": rounded(float(np.sqrt(np.mean(error**2)))),
        "mae": rounded(float(np.mean(np.abs(error)))),
        "bias": rounded(float(np.mean(error))),
    }
