"""Rows of inputs from readings, by the same code that every other model is trained with."""

import numpy as np
from numpy.typing import NDArray
from penstock_model.features import Features, Stream, Window

from .data import FIELDS, HUMIDITY, Sensor

# The stream of deploy/profiles/sensors.yaml; a test compares.
WINDOWS_S = ((30, 10), (300, 60))
LATENESS_S, MAX_SKEW_S, IDLE_S = 5, 60, 120


def windows() -> list[Window]:
    return [Window(size_s=size, slide_s=slide) for size, slide in WINDOWS_S]


def stream() -> Stream:
    return Stream(
        fields=list(FIELDS),
        windows=windows(),
        lateness_s=LATENESS_S,
        max_skew_s=MAX_SKEW_S,
        idle_s=IDLE_S,
    )


def rows(
    sensor: Sensor, expressions: list[str], values: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """[readings, expressions]; `values` instead of the sensor's own where faults were injected."""
    values = sensor.values if values is None else values
    # The public sets are logs in order of arrival; none tells both times.
    return Features(stream(), expressions).rows(sensor.event_ns, sensor.event_ns, values)


def without_own_humidity(expressions: list[str]) -> list[str]:
    """The guard of the humidity model: the sensor's own humidity is what it is to say."""
    bad = [e for e in expressions if FIELDS[HUMIDITY] in e]
    if bad:
        raise ValueError(f"derived from the humidity that is to be predicted: {', '.join(bad)}")
    return expressions
