"""Sensors that are made up, for tests."""

import numpy as np
from sensors.data import HUMIDITY, LIGHT, NS, TEMPERATURE, VOLTAGE, Sensor


def sensor(
    rows: int = 600, period_s: int = 5, name: str = "wsn-labelled/1", seed: int = 1
) -> Sensor:
    rng = np.random.default_rng(seed)
    values = np.empty((rows, 4), np.float32)
    for field, level, noise in ((TEMPERATURE, 22, 0.1), (HUMIDITY, 45, 0.3), (VOLTAGE, 3, 0.02)):
        values[:, field] = np.round(level + noise * rng.standard_normal(rows), 2)
    values[:, LIGHT] = np.nan
    return Sensor(
        id=name,
        deployment=name.partition("/")[0],
        period_s=float(period_s),
        event_ns=1_300_000_000 * NS + np.arange(rows, dtype=np.int64) * period_s * NS,
        values=values,
        label=np.zeros(rows, np.uint8),
        row=np.arange(rows, dtype=np.int64),
    )
