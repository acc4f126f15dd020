"""What only shows in time or in the distribution: resident memory, sizes of batches."""

import subprocess
import time

import machine
from options import Options
from places import KafkaServer
from programs import Penstock
from results import Result, Row, Table
from run import Load, fresh_topic, started

WARM_S = 30.0  # tables fill, librdkafka takes what it keeps
HALF_OF = 3.0  # seconds of flood that tell what a whole load is


class Many(Penstock):
    name = "streams"


class Soaked(Penstock):
    """Ten minutes would fill the disk: the broker keeps only the last of it."""

    name = "soak"
    topic_settings = {"retention_bytes": str(64 << 20), "segment_bytes": str(32 << 20)}


def histogram(kafka: KafkaServer, options: Options) -> Result:
    print("\n== sizes of batches")
    lines, sizes = [], []
    for streams in (1, 5, 20):
        program = Many(kafka, fresh_topic())
        program.streams = streams
        with started(program):
            load = Load(rate=options.rate, streams=streams)
            load.send(program, min(options.seconds, 5))
            buckets = program.ask("/status")["workers"][0]["batches"]
            readings = program.ask("/ledger")["readings"]["recorded"]
            program.stop()
        batches = sum(b["count"] for b in buckets)
        sizes = [f"{b['from']}-{b['to']}" if b["from"] != b["to"] else "1" for b in buckets]
        shares = [f"{b['count'] / batches:.1%}" for b in buckets]
        lines.append([str(streams), f"{readings / batches:.1f}", *shares])
        print(f"   {streams} streams: mean {readings / batches:.1f}", flush=True)
    title = f"Readings in a batch, {options.rate:,} datagrams/s of one reading, share of batches"
    return Result([], [Table(title, ["streams", "mean", *sizes], lines)])


def half_load(program: Penstock) -> int:
    """Half of the datagrams a second that were recorded when as many as possible came."""
    before = program.ask("/ledger")["readings"]["recorded"]
    Load(rate=0).send(program, HALF_OF)
    return int((program.ask("/ledger")["readings"]["recorded"] - before) / HALF_OF / 2)


def lost_so_far(program: Penstock) -> int:
    ledger = program.ask("/ledger")
    return ledger["lost_before_us"]["socket"] + ledger["readings"]["dropped"]["total"]


def slope(samples: list[tuple[float, int]]) -> float:
    """Least squares, bytes a second."""
    n = len(samples)
    mean_t = sum(t for t, _ in samples) / n
    mean_b = sum(b for _, b in samples) / n
    over = sum((t - mean_t) * (b - mean_b) for t, b in samples)
    return over / sum((t - mean_t) ** 2 for t, _ in samples)


def soak(kafka: KafkaServer, seconds: float) -> Result:
    """Packed to Kafka at half load, resident memory each second."""
    program = Soaked(kafka, fresh_topic())
    samples: list[tuple[float, int]] = []
    with started(program):
        rate = half_load(program)
        lost_before = lost_so_far(program)
        print(f"\n== {seconds:.0f} s at half load, {rate:,} datagrams/s", flush=True)
        command = Load(rate=rate).command(program, seconds + WARM_S)
        sender = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        begin = time.monotonic()
        while sender.poll() is None:
            now = time.monotonic() - begin
            if now >= WARM_S:
                samples.append((now, machine.resident_bytes(program.pid)))
            if len(samples) % 60 == 1:
                print(f"   {now:5.0f} s: {samples[-1][1] / 2**20:.1f} MiB", flush=True)
            time.sleep(1)
        lost = lost_so_far(program) - lost_before
        program.stop()
    first, last = samples[0][1], samples[-1][1]
    per_minute = slope(samples) * 60
    print(f"   slope {per_minute / 1024:+.1f} KiB a minute, {lost:,} lost")
    what = (
        f"resident memory after {seconds:.0f} s at {rate:,} datagrams/s over that at its beginning"
    )
    ratio = round(last / first, 4)
    row = Row("soak", what, ratio, ratio, ratio, 1, 0, "<= 1.02")
    line = [
        f"{rate:,}",
        f"{seconds:.0f}",
        f"{first / 2**20:.1f}",
        f"{last / 2**20:.1f}",
        f"{per_minute / 1024:+.1f}",
        f"{lost:,}",
    ]
    head = ["datagrams/s", "seconds", "MiB at first", "MiB at last", "slope, KiB/min", "lost"]
    return Result([row], [Table("Resident memory", head, [line])])
