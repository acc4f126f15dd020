"""Loaders, on a few lines of each set's form."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from sensors import data
from sensors.data import HUMIDITY, LIGHT, NS, TEMPERATURE, VOLTAGE

# Two nodes; node 2's sequence passes a thousand; its second packet came twice.
LIBRARY = (
    b"1163438041250 2 999 21,21 2,81 51,53 22,08 20 28\n"
    b"1163438041468 10 1 20,07 3 51,46 -0,5 2 2\n"
    b"1163438101250 2 1\xa0000 21,21 2,8 51,66 22,1 1\xa0040 37\n"
    b"1163438101250 2 1\xa0000 21,21 2,8 51,66 22,1 1\xa0040 37\n"
    b"1163438161250 2 1\xa0001 21,21 2,8\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    intel = tmp_path / "intel-lab"
    intel.mkdir()
    (intel / "temperature_steps_000_002.csv").write_text("1.83E+01,,1.90E+01\n20,21,22\n")
    (intel / "humidity_steps_000_002.csv").write_text("4.40E+01,4.41E+01,x\n30,31,32\n")
    library = tmp_path / "wsn-library"
    library.mkdir()
    (library / "library1_readings.txt.gz").write_bytes(gzip.compress(LIBRARY))
    (library / "library2_readings.txt").write_bytes(LIBRARY.splitlines(keepends=True)[1])
    labelled = tmp_path / "wsn-labelled" / "singlehop"
    labelled.mkdir(parents=True)
    (labelled / "singlehop_indoor_moteid1_data.txt").write_text(
        "Reading# Mote-ID Humidity Temperature Label\n1\t1\t45.93\t27.97\t0\n2\t1\t49.9\t28.1\t1\n"
    )
    return tmp_path


def sensors(folder: Path) -> dict[tuple[str, str], data.Sensor]:
    found, _ = data.load(folder, folder)
    return {(s.id, s.deployment): s for s in found}


def test_library_reads_decimal_commas_and_hard_spaces(folder: Path) -> None:
    node = sensors(folder)["wsn-library/2", "library1"]
    np.testing.assert_array_equal(node.values[:, TEMPERATURE], np.float32([22.08, 22.1]))
    np.testing.assert_array_equal(node.values[:, HUMIDITY], np.float32([51.53, 51.66]))
    np.testing.assert_array_equal(node.values[:, VOLTAGE], np.float32([2.81, 2.8]))
    np.testing.assert_array_equal(node.values[:, LIGHT], np.float32([20, 1040]))
    assert node.event_ns[0] == 1163438041250 * 1_000_000


def test_library_drops_packets_that_came_twice_or_short(folder: Path) -> None:
    assert len(sensors(folder)["wsn-library/2", "library1"]) == 2


def test_a_node_of_both_deployments_has_one_id(folder: Path) -> None:
    found = sensors(folder)
    assert ("wsn-library/10", "library1") in found
    assert ("wsn-library/10", "library2") in found


def test_intel_has_a_mote_a_row_and_gaps_are_missing(folder: Path) -> None:
    mote = sensors(folder)["intel-lab/1", "intel-lab"]
    assert mote.period_s == 1800
    np.testing.assert_array_equal(mote.values[:, TEMPERATURE], np.float32([18.3, np.nan, 19]))
    np.testing.assert_array_equal(mote.values[:, HUMIDITY], np.float32([44, 44.1, np.nan]))
    assert np.isnan(mote.values[:, [VOLTAGE, LIGHT]]).all()


def test_labelled_keeps_labels_and_period(folder: Path) -> None:
    mote = sensors(folder)["wsn-labelled/1", "wsn-labelled"]
    np.testing.assert_array_equal(mote.values[:, HUMIDITY], np.float32([45.93, 49.9]))
    np.testing.assert_array_equal(mote.label, [0, 1])
    assert mote.event_ns[1] - mote.event_ns[0] == 5 * NS


def test_shipped_rows_have_the_numbers_of_the_set(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[3] / "firmware-sim" / "data"
    found, places = data.load(tmp_path, shipped)
    assert set(places) == {"shipped"}
    assert sorted(s.id for s in found) == [f"wsn-labelled/{n}" for n in (1, 2, 3, 4)]
    assert {(int(s.row[0]), len(s)) for s in found} == {(300, 3300)}
    assert {s.id: int(s.label.sum()) for s in found if s.label.any()} == {
        "wsn-labelled/1": 117,
        "wsn-labelled/4": 32,
    }


def test_thinned_keeps_every_nth(folder: Path) -> None:
    mote = data.thinned(sensors(folder)["intel-lab/2", "intel-lab"], 2)
    assert mote.period_s == 3600
    np.testing.assert_array_equal(mote.values[:, TEMPERATURE], np.float32([20, 22]))
    np.testing.assert_array_equal(mote.row, [0, 2])


def test_digests_name_every_file_read(folder: Path) -> None:
    _, places = data.load(folder, folder)
    assert sorted(data.digests(places)) == [
        "intel-lab/humidity_steps_000_002.csv",
        "intel-lab/temperature_steps_000_002.csv",
        "wsn-labelled/singlehop_indoor_moteid1_data.txt",
        "wsn-library/library1_readings.txt.gz",
        "wsn-library/library2_readings.txt",
    ]
