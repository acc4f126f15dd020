"""
Golden rows: what the loader scores before it trusts a bundle. They travel with the bundle, so no
row of a set without a licence is among them: rows of the licensed set, and rows that are made up.
"""

import numpy as np
from numpy.typing import NDArray

LICENSED = "wsn-labelled"
REAL_ROWS, MADE_ROWS = 64, 192


def made(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Each input by itself drawn from its range, some beyond, some missing: no row is a reading."""
    found = np.empty((MADE_ROWS, x.shape[1]), np.float32)
    for column in range(x.shape[1]):
        values = x[np.isfinite(x[:, column]), column].astype(np.float64)
        low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
        wide = (high - low) * 0.1 + 1e-3
        # Most values of a heavy tail lie in a corner of its range: half are drawn there.
        scale = float(np.percentile(np.abs(values), 75)) if len(values) else 1.0
        spread = rng.uniform(low - wide, high + wide, MADE_ROWS)
        near = rng.normal(float(np.median(values)) if len(values) else 0.0, scale + 1e-6, MADE_ROWS)
        found[:, column] = np.where(rng.random(MADE_ROWS) < 0.5, spread, near)
    found[rng.random(found.shape) < 0.05] = np.nan
    return found


def rows(
    x: NDArray[np.float32], licensed: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float32]:
    """x: rows that were trained on, of which `licensed` may be passed on."""
    of_set = np.flatnonzero(licensed)
    picked = rng.choice(of_set, min(REAL_ROWS, len(of_set)), replace=False)
    # The first readings of a sensor have the most that is missing.
    first = of_set[:4]
    return np.concatenate([x[np.unique(np.concatenate([first, picked]))], made(x, rng)])
