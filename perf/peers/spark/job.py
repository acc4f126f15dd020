"""job.py FOLDER BROKERS KIND FROM TO: Spark Structured Streaming scores one topic into another.

KIND is `map`, `ml` or `windows` (README.md). Each line of stdin is an order, answered by a line:
  rest           scores what the topic holds and has not been scored yet: "done"
  live           scores what comes from now on, in micro-batches: "started"
  steady         the same; scores wait 5 ms for each other on their way to Kafka: "started"
  continuous     the same in Spark's continuous mode (`ml` alone)
  stop           ends the one or the other: "stopped"
"""

import io
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import scoring
from pyspark.broadcast import Broadcast
from pyspark.ml import Model
from pyspark.ml.classification import LogisticRegression, RandomForestClassifier
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.regression import GBTRegressor
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.streaming import StreamingQuery
from pyspark.sql.streaming.state import GroupState, GroupStateTimeout

BATCH_READINGS = 600000  # of `rest`: kind to Spark, for each batch has a price of its own
ARROW_READINGS = 20000
CONTINUOUS_EPOCH = "1 second"
LINGER_MS = 5  # where nobody waits

SCHEMA = "sensor string, time bigint, " + ", ".join(f"{f} double" for f in scoring.FIELDS)


def session(folder: Path, jars: str) -> SparkSession:
    settings = {
        "spark.jars": jars,
        "spark.driver.memory": "2g",
        # The cheapest collector: nobody waits for a pause.
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -XX:ParallelGCThreads=2",
        "spark.local.dir": str(folder),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(ARROW_READINGS),
        "spark.sql.streaming.forceDeleteTempCheckpointLocation": "true",
    }
    builder = SparkSession.builder.master("local[2]").appName("bench")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


# --- scoring in Python, by the ten thousand -----------------------------------------------------


def with_scores(texts: pa.Array, scores: tuple[Any, Any, Any]) -> pa.RecordBatch:
    """The message as it came, its last brace replaced by what the models say."""
    status, anomaly, humidity = scores

    def shown(x: np.ndarray) -> pa.Array:
        return pc.cast(pa.array(x), pa.string())

    p0, p1, p2 = (shown(status[:, i].astype(np.float32)) for i in range(3))
    value = pc.binary_join_element_wise(
        *(pc.utf8_slice_codeunits(texts, 0, -1), ',"status":{"class":'),
        *(shown(status.argmax(axis=1)), ',"p":[', p0, ",", p1, ",", p2),
        *(']},"anomaly":', shown(anomaly.astype(np.float32))),
        *(',"humidity_expected":', shown(humidity.astype(np.float32)), "}"),
        "",
    )
    return pa.RecordBatch.from_arrays([value], names=["value"])


def values_of(texts: pa.Array) -> np.ndarray:
    options = pyarrow.json.ReadOptions(use_threads=False)
    table = pyarrow.json.read_json(io.BytesIO(b"\n".join(texts.to_pylist())), options)
    return np.stack([table[f].to_numpy() for f in scoring.FIELDS], axis=1)


def map_job(messages: DataFrame, models: "Broadcast[scoring.Models]") -> DataFrame:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            texts = batch.column(0)
            x = scoring.inputs_of_readings(values_of(texts))
            yield with_scores(texts.cast(pa.string()), models.value.score(x))

    return messages.mapInArrow(score, "value string")


# --- with the windows' inputs -------------------------------------------------------------------


def derive(
    key: tuple[str], parts: Iterator[pd.DataFrame], state: GroupState
) -> Iterator[pd.DataFrame]:
    """One sensor's readings of a batch, each with the inputs of the three models."""
    frame = pd.concat(parts, ignore_index=True)
    time_ns = frame["time"].to_numpy()
    order = np.argsort(time_ns, kind="stable")
    time_s, texts = time_ns[order] / 1e9, frame["text"].to_numpy()[order]
    values = frame[list(scoring.FIELDS)].to_numpy()[order]
    if state.exists:
        panes = scoring.Panes.from_bytes(state.get[0])
    else:
        panes = scoring.Panes(first_s=time_s[0], last=values[0])
    short, long, steps = panes.push(time_s, values)
    x = scoring.inputs_of_windows(values, short, long, steps)
    state.update((panes.to_bytes(),))
    yield pd.DataFrame({"text": texts, "inputs": [row.tobytes() for row in x]})


def windows_job(messages: DataFrame, models: "Broadcast[scoring.Models]") -> DataFrame:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            flat = np.frombuffer(b"".join(batch.column(1).to_pylist()), np.float32)
            yield with_scores(batch.column(0), models.value.score(flat.reshape(-1, scoring.INPUTS)))

    text = F.col("value").cast("string")
    readings = messages.select(text.alias("text"), F.from_json(text, SCHEMA).alias("r"))
    derived = (
        readings.select("text", "r.*")
        .groupBy("sensor")
        .applyInPandasWithState(
            derive,
            "text string, inputs binary",
            "panes binary",
            "append",
            GroupStateTimeout.NoTimeout,
        )
    )
    return derived.mapInArrow(score, "value string")


# --- scoring in the JVM, by Spark ML ------------------------------------------------------------


def rows(spark: SparkSession, inputs: int, label: Callable[[Any], Any]) -> DataFrame:
    x, y = scoring.lesson(inputs)
    lines = list(zip(x.tolist(), label(y).astype(float).tolist(), strict=True))
    frame = spark.createDataFrame(lines, "x array<double>, label double")
    return frame.select(array_to_vector("x").alias("x"), "label")


def ml_models(spark: SparkSession) -> list[Model]:
    """Trained, and told what to read and write; a column without a name is not computed."""
    size = {"maxDepth": scoring.DEPTH, "seed": scoring.SEED, "featuresCol": "x"}
    status = RandomForestClassifier(numTrees=scoring.TREES, **size)
    status = status.fit(rows(spark, scoring.STATUS, scoring.classes))
    anomaly = LogisticRegression(featuresCol="x")
    anomaly = anomaly.fit(rows(spark, scoring.ANOMALY, lambda y: y > 0))
    humidity = GBTRegressor(maxIter=scoring.TREES, **size)
    humidity = humidity.fit(rows(spark, scoring.HUMIDITY_EXPECTED, lambda y: y))
    status.setFeaturesCol("x1").setProbabilityCol("p1").setRawPredictionCol("")
    status.setPredictionCol("class")
    anomaly.setFeaturesCol("x2").setProbabilityCol("p2").setRawPredictionCol("")
    anomaly.setPredictionCol("")
    humidity.setFeaturesCol("x3").setPredictionCol("humidity_expected")
    return [status, anomaly, humidity]


def vector(fields: tuple[str, ...], inputs: int) -> Column:
    return array_to_vector(
        F.array(*(F.col(f) for f in fields), *[F.lit(0.0)] * (inputs - len(fields)))
    )


def ml_job(messages: DataFrame, models: list[Model]) -> DataFrame:
    readings = messages.select(F.from_json(F.col("value").cast("string"), SCHEMA).alias("r"))
    scored = (
        readings.select("r.*")
        .withColumn("x1", vector(scoring.FIELDS, scoring.STATUS))
        .withColumn("x2", vector(scoring.FIELDS[:2], scoring.ANOMALY))
        .withColumn("x3", vector(("temperature", "light"), scoring.HUMIDITY_EXPECTED))
    )
    for model in models:
        scored = model.transform(scored)
    said = F.struct("class", vector_to_array("p1").alias("p")).alias("status")
    p = vector_to_array("p2")[1].alias("anomaly")
    record = F.struct("sensor", "time", *scoring.FIELDS, said, p, "humidity_expected")
    return scored.select(F.to_json(record).alias("value"))


# --- orders -------------------------------------------------------------------------------------


class Job:
    def __init__(self, folder: Path, brokers: str, kind: str, topics: tuple[str, str]) -> None:
        self.folder, self.brokers = folder, brokers
        self.topic_from, self.topic_to = topics
        jars = ",".join(str(p) for p in sorted(Path(sys.argv[6]).glob("*.jar")))
        self.spark = session(folder, jars)
        self.serial = itertools.count()
        self.query: StreamingQuery | None = None
        context = self.spark.sparkContext
        self.make: Callable[[DataFrame], DataFrame]
        if kind == "ml":
            trained = ml_models(self.spark)
            self.make = lambda messages: ml_job(messages, trained)
        else:
            models = context.broadcast(scoring.Models())
            made = {"map": map_job, "windows": windows_job}[kind]
            self.make = lambda messages: made(messages, models)
        self.live, self.all = self.scored("latest"), self.scored("earliest")

    def scored(self, first: str) -> DataFrame:
        options = {
            "kafka.bootstrap.servers": self.brokers,
            "subscribe": self.topic_from,
            "startingOffsets": first,
        }
        if first == "earliest":
            options["maxOffsetsPerTrigger"] = str(BATCH_READINGS)
        source = self.spark.readStream.format("kafka").options(**options).load()
        return self.make(source.select("value"))

    def start(self, scored: DataFrame, checkpoint: str, linger_ms: int, **trigger: Any) -> None:  # noqa: ANN401
        options = {
            "kafka.bootstrap.servers": self.brokers,
            "topic": self.topic_to,
            "checkpointLocation": str(self.folder / checkpoint),
            "kafka.linger.ms": str(linger_ms),
            "kafka.batch.size": str(1 << 18),
        }
        writer = scored.writeStream.format("kafka").options(**options)
        self.query = (writer.trigger(**trigger) if trigger else writer).start()

    def obey(self, order: str) -> str:
        fresh = f"live-{next(self.serial)}"
        if order == "rest":
            self.start(self.all, "rest", LINGER_MS, availableNow=True)
            assert self.query is not None
            self.query.awaitTermination()
            return "done"
        if order in ("live", "steady"):
            self.start(self.live, fresh, LINGER_MS if order == "steady" else 0)
            return "started"
        if order == "continuous":
            self.start(self.live, fresh, 0, continuous=CONTINUOUS_EPOCH)
            return "started"
        assert order == "stop" and self.query is not None
        self.query.stop()
        return "stopped"

    def close(self) -> None:
        """Waits for the JVM, which pyspark would leave behind."""
        gateway = self.spark.sparkContext._gateway
        self.spark.stop()
        assert gateway is not None
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(timeout=15)


def main() -> None:
    folder, brokers, kind, topic_from, topic_to = sys.argv[1:6]
    job = Job(Path(folder), brokers, kind, (topic_from, topic_to))
    print("ready", flush=True)
    try:
        for order in sys.stdin:
            print(job.obey(order.strip()), flush=True)
    finally:
        job.close()


if __name__ == "__main__":
    main()
