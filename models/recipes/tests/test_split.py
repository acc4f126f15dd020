"""No sensor and no event on two sides; what the demo may stream was never trained on."""

from pathlib import Path

import numpy as np
from made import sensor
from sensors import data, split

SHIPPED = Path(__file__).resolve().parents[3] / "firmware-sim" / "data"
SETS = {"intel-lab": 50, "wsn-library": 20, "wsn-labelled": 4, "occupancy": 1}
ALL = [sensor(30, name=f"{n}/{k + 1}") for n, count in SETS.items() for k in range(count)]


def test_no_sensor_is_in_two_splits() -> None:
    train, test, outside = (
        {s.id for s in split.of_side(ALL, side)}
        for side in (split.TRAIN, split.TEST, split.OUTSIDE)
    )
    assert not train & test
    assert not (train | test) & outside
    assert train | test | outside == {s.id for s in ALL}


def test_every_set_is_on_both_sides() -> None:
    for side in (split.TRAIN, split.TEST):
        sets = {s.id.partition("/")[0] for s in split.of_side(ALL, side)}
        assert sets == {"intel-lab", "wsn-library", "wsn-labelled"}


def test_a_node_used_twice_is_on_one_side() -> None:
    twice = [sensor(30, name="wsn-library/6"), sensor(40, name="wsn-library/6")]
    assert len({split.side_of(s.id) for s in twice}) == 1


def test_runs() -> None:
    assert split.runs(np.array([1, 1, 0, 1, 0, 0, 1])) == [(0, 1), (3, 3), (6, 6)]
    assert split.runs(np.zeros(3)) == []


def test_the_demo_streams_held_out_motes_with_their_event() -> None:
    sensors = data.load_shipped(SHIPPED)
    found = split.describe(sensors)
    streamed = {d["sensor"]: d for d in found["demo"]["may_stream"]}
    trained = {r["sensor"] for r in found["sensors"] if r["split"] == split.TRAIN}
    assert not set(streamed) & trained
    assert streamed["wsn-labelled/2"]["rows"] == [0, 3299]
    [(first, last)] = streamed["wsn-labelled/4"]["labelled_rows"]
    labels = np.loadtxt(SHIPPED / "outdoor_moteid4.csv", delimiter=",", skiprows=1)[:, 4]
    assert np.flatnonzero(labels)[[0, -1]].tolist() == [first, last]
    sides = {e["sensor"]: e["side"] for e in found["events"]}
    assert sides == {"wsn-labelled/1": split.TRAIN, "wsn-labelled/4": split.TEST}
