"""Training on real Spark: several workers train what one process trains, and what goes wrong is said or mended."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from . import spark_stage
from .spark_stage import Stage

pytestmark = pytest.mark.engine

MIB = 1 << 20

SETUP = """
import subprocess, sys, threading, time
loaded = sorted({"keras", "tensorflow"} & set(sys.modules))
occam.train
loaded += sorted({"keras", "tensorflow"} & set(sys.modules))
import keras, numpy as np, pandas as pd

random = np.random.default_rng(0)
X = random.normal(size=(20 * 128, 64)).astype("float32")
Y = (X[:, 0] + X[:, 1] ** 2 > 1).astype("int32")

def mlp():
    relu = lambda: keras.layers.Dense(32, activation="relu")
    model = keras.Sequential([keras.Input((64,)), relu(), relu(), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["accuracy", "AUC"])
    return model

def old():
    # The same network in tf_keras.
    import tf_keras
    layers = [tf_keras.layers.Dense(32, activation="relu"), tf_keras.layers.Dense(32, activation="relu")]
    model = tf_keras.Sequential([tf_keras.Input((64,)), *layers, tf_keras.layers.Dense(1, activation="sigmoid")])
    model.compile(tf_keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["accuracy", "AUC"])
    return model

def cnn():
    layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.MaxPooling2D(), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def left(seconds=30):
    # Children that are there after the seconds they have to end.
    end = time.monotonic() + seconds
    while children() and time.monotonic() < end:
        time.sleep(0.1)
    return children()

def children():
    return int(subprocess.run(["pgrep", "-fc", "occam.training.[c]hild"], capture_output=True, text=True).stdout)

def gap(a, b):
    return float(np.abs(np.array(a) - np.array(b)).max())
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with spark_stage.built() as (engine, image), spark_stage.stage(engine, image) as there:
        there.start_kernel(workers=2, memory="2G")
        there.cell(SETUP)
        yield there


def test_the_library_loads_no_tensorflow_by_itself(stage: Stage) -> None:
    assert stage.cell("said = loaded") == []


@pytest.mark.parametrize(
    ("network", "data", "workers"),
    [
        ("mlp", "pd.DataFrame(X).add_prefix('f').assign(label=Y)", 2),
        ("cnn", "pd.DataFrame({'image': list(X.astype('float64')), 'label': Y})", 4),
    ],
    ids=["mlp", "cnn"],
)
def test_several_workers_have_the_loss_curve_of_one_process(
    network: str, data: str, workers: int, stage: Stage
) -> None:
    """Over 40 steps; beside the run on workers a plain Keras loop over the same batches, in the notebook."""
    said = stage.cell(f"""
        frame = spark.createDataFrame({data})
        spark.cluster.scale({workers})
        run = occam.train({network}, frame, epochs=2, batch_size=128, shuffle=False)
        spark.cluster.scale(2)
        keras.utils.set_random_seed(1)
        alone, losses = {network}(), []
        for first in [*range(0, len(X), 128)] * 2:
            alone.reset_metrics()
            x = X[first : first + 128].reshape(-1, *alone.input_shape[1:])
            losses.append(float(alone.train_on_batch(x, Y[first : first + 128])[0]))
        said = [len(losses), gap(run.losses, losses), run.workers]
        said.append(gap(run.model.predict(x, verbose=0), alone.predict(x, verbose=0)))
    """)
    steps, apart, ranks, predicted = said
    assert (steps, ranks) == (40, workers)
    assert apart < 1e-4
    assert predicted < 1e-4


def test_what_keras_does_with_weights_metrics_validation_and_a_smaller_last_batch(stage: Stage) -> None:
    """The same figures as `fit`, and mixed rows are the same ones from files and from arrays, on one or two."""
    said = stage.cell("""
        given = {"class_weight": {0: 1.0, 1: 5.0}, "epochs": 2, "batch_size": 200, "shuffle": False}
        keras.utils.set_random_seed(1)
        fitted = mlp().fit(X, Y, validation_data=(X[:501], Y[:501]), verbose=0, **given).history
        ours = occam.train(mlp, (X, Y), validation=(X[:501], Y[:501]), **given)
        said = {"fit": {name: gap(values, ours.history[name]) for name, values in fitted.items()}}
        def slowing():
            model = mlp()
            rate = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=5, decay_rate=0.5)
            model.compile(keras.optimizers.SGD(rate), "binary_crossentropy")
            return model
        given.pop("class_weight")
        W, held = random.uniform(0.2, 5, len(X)).astype("float32"), (X[:501], Y[:501].astype("int64"))
        keras.utils.set_random_seed(1)
        fitted = slowing().fit(X, Y, sample_weight=W, validation_data=held, verbose=0, **given).history
        weighed = occam.train(slowing, (X, Y, W), validation=held, **given).history
        said["slowing"] = max(gap(values, weighed[name]) for name, values in fitted.items())
        frame = spark.createDataFrame(pd.DataFrame(X).add_prefix("f").assign(label=Y, w=W)).repartition(3)
        frame.coalesce(1).write.mode("overwrite").parquet("/tmp/rows")
        order = spark.read.parquet("/tmp/rows").toPandas()
        arrays = order.drop(columns=["label", "w"]).to_numpy(), order["label"].to_numpy(), order["w"].to_numpy()
        one = occam.train(mlp, "/tmp/rows", weight="w", epochs=2, batch_size=256, workers=1, seed=7)
        two = occam.train(mlp, arrays, epochs=2, batch_size=256, workers=2, seed=7)
        said["mixed"] = gap(one.losses, two.losses)
        said["left"] = [left(), spark.sparkContext._jsc.getPersistentRDDs().size()]
    """)
    assert set(said["fit"]) == {"loss", "accuracy", "AUC", "val_loss", "val_accuracy", "val_AUC"}
    assert max(said["fit"].values()) < 1e-4
    assert said["slowing"] < 1e-4, "a schedule of the optimizer's learning rate, and rows with weights"
    assert said["mixed"] < 1e-4
    assert said["left"] == [0, 0]


def test_a_network_of_tf_keras_trains_as_one_of_keras_3(stage: Stage) -> None:
    """The losses of 40 steps and the figures of epochs are those of its own `fit`, and its callbacks serve."""
    said = stage.cell("""
        import tf_keras
        calls = tf_keras.callbacks
        class Means(calls.Callback):
            # fit says the mean of the epoch so far.
            def on_train_batch_end(self, batch, logs):
                means.append((batch + 1) * logs["loss"])
        means, halved = [], calls.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1))
        given = {"epochs": 2, "batch_size": 128, "shuffle": False, "class_weight": {0: 1.0, 1: 5.0}}
        held = X[:501], Y[:501]
        tf_keras.utils.set_random_seed(1)
        alone = old()
        fitted = alone.fit(X, Y, validation_data=held, verbose=0, callbacks=[halved, Means()], **given).history
        losses = [*means[:1], *np.diff(means[:20]), means[20], *np.diff(means[20:])]
        mine = [halved, calls.ModelCheckpoint("/tmp/old.keras"), calls.EarlyStopping(patience=5)]
        run = occam.train(old, (X, Y), validation=held, callbacks=mine, **given)
        saved, predicted = tf_keras.models.load_model("/tmp/old.keras"), run.model.predict(X, verbose=0)
        said = {
            "steps": len(run.losses), "kind": isinstance(run.model, tf_keras.Model), "apart": gap(run.losses, losses),
            "predicted": [gap(predicted, one.predict(X, verbose=0)) for one in (alone, saved)],
            "fit": {name: gap(values, run.history[name]) for name, values in fitted.items()},
        }
    """)
    assert (said["steps"], said["kind"]) == (40, True)
    assert max(said["apart"], *said["predicted"]) < 1e-4
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(said["fit"])
    assert max(said["fit"].values()) < 1e-4


def test_tensorboard_has_what_is_of_epochs_and_a_backup_is_restored(stage: Stage) -> None:
    """The second training goes on where the first one was torn off, as in Keras' own fit."""
    said = stage.cell("""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        calls, held = keras.callbacks, (X[:500], Y[:500])
        def torn(epoch, logs):
            if epoch == 1:
                raise RuntimeError("torn off")
        board = calls.TensorBoard("/tmp/board", histogram_freq=1, write_steps_per_second=True)
        given = {"epochs": 3, "batch_size": 320, "seed": 4}
        base = occam.train(mlp, (X, Y), validation=held, callbacks=[board], **given)
        backup = lambda: calls.BackupAndRestore("/tmp/backup")
        try:
            occam.train(mlp, (X, Y), callbacks=[backup(), calls.LambdaCallback(on_epoch_end=torn)], **given)
        except RuntimeError as error:
            said = [str(error)]
        rest = occam.train(mlp, (X, Y), callbacks=[backup()], **given)
        said += [rest.epochs, gap(base.losses[16:], rest.losses), base.digest == rest.digest]
        for part in ("train", "validation"):
            events = EventAccumulator(f"/tmp/board/{part}")
            events.Reload()
            tags = events.Tags()
            # TensorBoard 2 keeps scalars as tensors.
            names = [name for name in tags["tensors"] if name.startswith("epoch_")]
            said.append([sorted(names), len(events.Tensors("epoch_loss"))])
            said.append(len([name for name in tags["tensors"] if "histogram" in name]))
    """)
    error, epochs, apart, same, train, histograms, validation, none = said
    assert (error, epochs, apart, same) == ("torn off", 1, 0.0, True)
    assert train == [["epoch_AUC", "epoch_accuracy", "epoch_learning_rate", "epoch_loss", "epoch_steps_per_second"], 3]
    assert validation == [["epoch_AUC", "epoch_accuracy", "epoch_loss"], 3]
    assert (histograms, none) == (6, 0)


def test_callbacks_are_called_between_epochs_and_what_they_change_counts(stage: Stage) -> None:
    said = stage.cell("""
        class Seen(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs):
                seen.append([epoch, round(logs["val_loss"], 6), float(self.model.optimizer.learning_rate)])
        seen, calls = [], keras.callbacks
        given = [
            Seen(), calls.ModelCheckpoint("/tmp/best.keras", save_best_only=True),
            calls.EarlyStopping(patience=1, min_delta=0.05, restore_best_weights=True),
            calls.LearningRateScheduler(lambda epoch, rate: rate if epoch == 0 else rate / 2), calls.TerminateOnNaN(),
        ]
        held = X[:500], Y[:500]
        run = occam.train(mlp, (X, Y), epochs=9, batch_size=640, validation=held, callbacks=given)
        saved = keras.models.load_model("/tmp/best.keras")
        scores = [model.evaluate(*held, verbose=0)[0] for model in (run.model, saved)]
        said = {"seen": seen, "run": [run.epochs, run.stopped, len(run.worker_seconds[0])], "scores": scores,
                "history": sorted(run.history), "rates": run.history["learning_rate"], "html": run._repr_html_()}
    """)
    epochs, stopped, ranks = said["run"]
    assert (stopped, ranks) == (True, 2)
    assert len(said["seen"]) == epochs < 9
    assert said["rates"] == pytest.approx([3e-3 / 2**epoch for epoch in range(epochs)])
    losses = [one[1] for one in said["seen"]]
    assert min(abs(said["scores"][0] - loss) for loss in losses) < 1e-4, "the weights are those of an epoch"
    assert said["scores"][1] == pytest.approx(min(losses), abs=1e-4)
    assert "learning_rate" in said["history"]
    assert said["html"].count("<svg") == 3


def test_what_cannot_be_trained_is_refused_in_under_a_second(stage: Stage) -> None:
    said = stage.cell("""
        import os, tf_keras
        table = lambda *columns: spark.range(10).selectExpr(*columns)
        counting = keras.callbacks.LambdaCallback(on_train_batch_end=print)
        for name in ("empty", "words"):
            os.makedirs(f"/tmp/{name}", exist_ok=True)
        open("/tmp/words/part.csv", "w").write("a,b,label")
        table("1d x", "1 y").write.mode("overwrite").parquet("/tmp/unlabelled")
        def older():
            model = old()
            model.compile(tf_keras.optimizers.legacy.SGD(0.1), "mse")
            return model
        tries = {
            "slots": ((mlp, (X, Y)), {"workers": 3}), "batch": ((mlp, (X, Y)), {"batch_size": 65}),
            "gpu": ((mlp, (X, Y)), {"gpu": True}), "text": ((mlp, table("id", "'a' t", "1 label")), {}),
            "columns": ((mlp, table("id", "1 label")), {}), "shape": ((mlp, (X[:, :5], Y)), {}),
            "labels": ((mlp, (X, Y.reshape(-1, 1, 1, 1))), {}), "model": ((mlp(), (X, Y)), {}),
            "callback": ((mlp, (X, Y)), {"callbacks": [counting]}), "data": ((mlp, 3), {}),
            "no path": ((mlp, "/tmp/nowhere"), {}), "no files": ((mlp, "/tmp/empty"), {}),
            "no parquet": ((mlp, "/tmp/words"), {}), "no label": ((mlp, "/tmp/unlabelled"), {}),
            "validation": ((mlp, table("id x", "1 label")), {"validation": table("id z", "1 label")}),
            "no rows": ((mlp, (X[:0], Y[:0])), {}), "other shape": ((mlp, (X, Y)), {"validation": (X[:9, :3], Y[:9])}),
            "lengths": ((mlp, (X, Y[:-1])), {}), "old optimizer": ((older, (X, Y)), {}),
            "other callback": ((old, (X, Y)), {"callbacks": [keras.callbacks.CSVLogger("/tmp/log")]}),
            "profile": ((mlp, (X, Y)), {"callbacks": [keras.callbacks.TensorBoard("/tmp/b", profile_batch=2)]}),
            "classes": ((mlp, (X, Y)), {"class_weight": [1, 2]}),
        }
        # The first of their kind take their time.
        old(), spark.read.parquet("/tmp/unlabelled"), spark.sparkContext.parallelize(range(2), 2).count()
        images = table("array_repeat(1f, 64) image", "1 label")
        images.write.mode("overwrite").parquet("/tmp/images")
        tries |= {
            "memory": ((mlp, "/tmp/images"), {"batch_size": 8_000_000}), "seed": ((mlp, (X, Y)), {"seed": -1}),
            "callback before": ((mlp, images), {"callbacks": [counting]}), "model before": ((print, images), {}),
        }
        jobs = lambda: len(spark.sparkContext.statusTracker().getJobIdsForGroup())
        said = {}
        for name, (args, more) in tries.items():
            began, before = time.monotonic(), jobs()
            try:
                occam.train(*args, **more)
            except occam.Refused as refused:
                said[name] = [time.monotonic() - began, str(refused), jobs() - before]
        said = [list(tries), said, children()]
        os.makedirs("/tmp/mine/keras-2.0.dist-info", exist_ok=True)  # as pip install leaves it in a home
        open("/tmp/mine/keras-2.0.dist-info/METADATA", "w").write("Metadata-Version: 2.1\\nName: keras\\nVersion: 2.0")
        sys.path.insert(0, "/tmp/mine")
        began = time.monotonic()
        try:
            occam.train(mlp, (X, Y))
        except occam.Refused as refused:
            said.append([time.monotonic() - began, str(refused)])
        sys.path.remove("/tmp/mine")
        for more in ({"epochs": 0}, {"batch_size": 0}, {"retries": -1}, {"timeout": 0}, {"workers": 0}):
            try:
                occam.train(mlp, (X, Y), **more)
            except occam.Refused as refused:
                said.append(str(refused))
    """)
    names, refused, children, (seconds, words), *numbers = said
    assert seconds < 1
    assert re.search(r"keras [\d.]+ on workers, 2.0 in the notebook\n  → pip uninstall", words), words
    assert list(refused) == names
    assert {name: seconds for name, (seconds, *_) in refused.items() if seconds > 1} == {}
    assert {name: words for name, (_, words, _) in refused.items() if "\n  → " not in words} == {}
    assert {name: jobs for name, (*_, jobs) in refused.items() if jobs} == {}
    assert "a rank needs" in refused["memory"][1]
    assert "batch_size=64 or 66" in refused["batch"][1]
    assert "there is no /tmp/nowhere" in refused["no path"][1]
    assert "/tmp/words/part.csv is no Parquet file" in refused["no parquet"][1]
    assert "the data has no column 'label'; it has x, y" in refused["no label"][1]
    assert "the validation data has no column 'x'; it has z, label" in refused["validation"][1]
    assert len(numbers) == 5
    assert all("must be" in words for words in numbers)
    assert children == 0


HERE = """
from collections import deque
from types import SimpleNamespace as Space
from unittest import mock
from occam.training import between, conduct, dialects, network, wire
from occam.training.bar import Bar
from occam.training.plan import Order, Plan
from occam.training.rank import Rank
from occam.training.ranks import Again
from occam.training.shard import Files
from occam.training.source import FromArrays

class Here:
    # Stands for Spark's job: one rank, in this process; it is lost once, when it shall train the epoch `loses`.
    def __init__(self, spark, frame, plan, conf, timeout):
        self.plan, self.said, self.rows = plan, deque([wire.Hello(0, 1)]), deque()
    def __enter__(self):
        return self
    def __exit__(self, *error):
        pass
    def say(self, told, rank=None):
        if isinstance(told, wire.Train):
            if told.epoch == Here.loses:
                Here.loses = None
                raise Again("it was lost")
            self.rank.train(told)
        elif not isinstance(told, wire.Done):
            self.rows.append(told)
        if isinstance(told, wire.NoMoreRows):
            files = Files.new(self.plan.forms, self.plan.parts)
            line = Space(say=self.said.append, next=self.rows.popleft)
            self.rank = Rank(Order(self.plan, 0, files.numbers), line, Space(now=""), None)
            self.rank.take_rows()
    def hear(self):
        return 0, self.said.popleft()
    def await_end(self):
        pass

def rehearsed(build, data):
    rows = FromArrays(data, None)
    with dialects.seeded(1):
        model = network.built(build)
        network.rehearse(model, rows.forms)
    return rows, model

def here(build, data, callbacks=(), epochs=2, loses=None):
    Here.loses, (rows, model) = loses, rehearsed(build, data)
    layouts = rows.arrange(256, 1, None)
    plan = Plan(("", 0), b"", network.pickled(build), rows.forms, layouts, False, 1, False, {}, 1, False, {})
    calls = between.Between(model, callbacks, epochs, layouts["train"].batches)
    with mock.patch.multiple(conduct, Ranks=Here, SETTLE=0):
        one = conduct.Training(mock.Mock(), plan, rows, calls, Bar(epochs, 1), lambda: 1, 0)
        return one.run(epochs, 1, 9)
"""


def test_callbacks_averages_and_mixed_precision_are_as_in_fit_also_when_a_worker_is_lost(stage: Stage) -> None:
    """All at once, and the notebook's own chance goes on as if nothing had been."""
    stage.cell(HERE)
    said = stage.cell("""
        import random as chance
        calls = keras.callbacks
        class Shrinks(calls.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.model.set_weights([one * 0.9 for one in self.model.get_weights()])
        def mixed():
            keras.mixed_precision.set_global_policy("mixed_float16")
            model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(1, activation="sigmoid")])
            keras.mixed_precision.set_global_policy("float32")
            model.compile(keras.optimizers.Adam(3e-3, use_ema=True, ema_momentum=0.9), "binary_crossentropy")
            return model
        given = lambda: [
            Shrinks(), calls.LearningRateScheduler(lambda epoch, rate: rate / 2),
            calls.ReduceLROnPlateau("loss", patience=0, min_delta=9),
        ]
        keras.utils.set_random_seed(1)
        alone = mixed()
        fitted = alone.fit(X, Y, batch_size=256, epochs=3, shuffle=False, callbacks=given(), verbose=0).history
        keras.utils.set_random_seed(5)
        wanted = [chance.random(), np.random.random()]
        keras.utils.set_random_seed(5)
        rehearsed(mixed, (X, Y))
        said = [[chance.random(), np.random.random()] == wanted]
        run = here(mixed, (X, Y), given(), epochs=3, loses=1)
        said += [run.resumed, type(run.model.optimizer).__name__]
        said.append({name: gap(values, run.history[name]) for name, values in fitted.items()})
        said.append(gap(alone.predict(X, verbose=0), run.model.predict(X, verbose=0)))
        try:
            here(mixed, (np.where(np.arange(len(X))[:, None] == 700, np.nan, X), Y))
        except IndexError:  # the rank says so, and nothing more
            said.append("ended")
    """)
    as_before, resumed, optimizer, apart, predicted, broken = said
    assert as_before
    assert (resumed, optimizer) == (1, "LossScaleOptimizer")
    assert {"loss", "learning_rate"} <= set(apart)
    assert max(*apart.values(), predicted) < 1e-4
    assert broken == "ended"


def test_losses_and_metrics_in_every_form_that_keras_takes_for_one_output(stage: Stage) -> None:
    stage.cell(HERE)
    said = stage.cell("""
        import functools
        class Most(keras.metrics.Metric):
            def __init__(self):
                super().__init__(name="peak")
                self.most = self.add_variable((), "zeros", name="most")
            def update_state(self, y, predicted, sample_weight=None):
                self.most.assign(keras.ops.maximum(self.most, keras.ops.max(keras.ops.abs(y - predicted))))
            def result(self):
                return self.most
        def squared(y, predicted, times):
            return times * keras.ops.mean(keras.ops.square(y - predicted), axis=-1)
        def network_of(loss, *metrics):
            def build():
                rows = keras.Input((64,))
                model = keras.Model(rows, keras.layers.Dense(2, name="out")(rows))
                model.compile(keras.optimizers.SGD(lambda: 0.01), loss, metrics=[one() for one in metrics])
                return model
            return build
        two, said = np.eye(2, dtype="float32")[Y], []
        sums = ["mse", "mse"], {"out": keras.losses.MeanSquaredError(reduction="sum")}
        for loss in ({"out": "mse"}, ["mse"], functools.partial(squared, times=2.0), squared, *sums):
            try:
                rehearsed(network_of(loss), (X, two))
                said.append("taken")
            except occam.Refused as refused:
                said.append(str(refused))
        try:
            rehearsed(network_of("mse", Most), (X, two))
        except occam.Refused as refused:
            said.append(str(refused))
        said.append(sorted(here(network_of("mse", keras.metrics.F1Score), (X, two), epochs=1).history))
    """)
    *losses, several, added, metric, history = said
    assert losses[:3] == ["taken"] * 3
    assert "takes 3 positional" in losses[3] or "missing 1 required" in losses[3]
    assert "not one loss but several" in several
    assert "reduction='sum'" in added
    assert "'peak/most' of a metric is no sum over rows" in metric
    assert history == ["f1_score_0", "f1_score_1", "loss"]


def test_the_sum_over_ranks_has_the_same_bits_on_all_and_ends_when_one_is_gone(stage: Stage) -> None:
    said = stage.python("""
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np
        from occam.driver import free_port
        from occam.training.ring import LostRank, Ring
        pool = ThreadPoolExecutor(5)
        def tried(call):
            try:
                return call()
            except LostRank as error:
                return "lost"
        def all_of(ranks, one):
            return list(pool.map(lambda rank: tried(lambda: one(rank)), range(ranks)))
        def rings(ranks, key=lambda rank: b"key"):
            peers = [f"127.0.0.1:{free_port('127.0.0.1')}" for _ in range(ranks)]
            return all_of(ranks, lambda rank: Ring(peers, rank, key(rank)))
        said = []
        for ranks, size in ((2, 1), (2, 2_000_001), (3, 7), (5, 1000)):
            vectors = [np.random.default_rng(rank).normal(size=size).astype("float32") for rank in range(ranks)]
            ring = rings(ranks)
            sums = all_of(ranks, lambda rank: ring[rank].sum(vectors[rank]))
            said.append([float(np.abs(sums[0] - np.sum(vectors, 0)).max()), len({one.tobytes() for one in sums})])
        ring[2]._next.close(), ring[2]._before.close()
        said.append(tried(lambda: ring[3].sum(vectors[3])))
        said.append(rings(2, key=lambda rank: b"mine" if rank else b"other"))
    """)
    *sums, gone, strangers = said
    assert [bits for _, bits in sums] == [1, 1, 1, 1]
    assert max(apart for apart, _ in sums) < 1e-5
    assert gone == "lost"
    assert "lost" in strangers


FAULTS = """
class When(keras.callbacks.Callback):
    # In the middle of an epoch: a moment after it began.
    def __init__(self, epoch, what):
        super().__init__()
        self.epoch, self.what = epoch, what
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.epoch = None
            threading.Timer(0.05, self.what).start()

def kill(pattern):
    return lambda: subprocess.run(["bash", "-c", f"kill -9 $(pgrep -f '{pattern}' | tail -1)"])

much = {"epochs": 12, "batch_size": 16, "seed": 2}
"""


def test_a_worker_killed_in_the_middle_of_an_epoch_changes_nothing(stage: Stage) -> None:
    """It begins again after the last whole epoch, on the worker that comes in its place; else the error comes soon."""
    stage.cell(FAULTS)
    said = stage.cell("""
        base = occam.train(mlp, (X, Y), **much)
        began = time.monotonic()
        run = occam.train(mlp, (X, Y), callbacks=[When(4, kill("[O]ccamExecutorBackend"))], **much)
        said = {"resumed": run.resumed, "same": [gap(base.losses, run.losses), base.digest == run.digest],
                "seconds": time.monotonic() - began, "words": repr(run)}
        began = time.monotonic()
        try:
            occam.train(mlp, (X, Y), callbacks=[When(2, kill("occam.training.[c]hild"))], retries=0, **much)
        except occam.TrainingFailed as failed:
            said["error"] = [str(failed), time.monotonic() - began, failed.result.epochs, left()]
    """)
    assert said["resumed"] == 1, said
    assert said["same"] == [0.0, True]
    assert "resumed: 1 time, after a worker was lost" in said["words"]
    words, seconds, epochs, children = said["error"]
    assert "rank" in words, words
    assert "was lost" in words or "was ended by signal 9" in words
    assert seconds < 60
    assert (epochs, children) == (2, 0)


def test_what_is_no_number_and_what_a_student_got_wrong_are_said_with_where(stage: Stage) -> None:
    said = stage.cell("""
        bad = X.copy()
        bad[1000 * 2 + 7] = np.nan  # step 16 of the first epoch, in the second half of its batch
        def broken():
            import sys
            if sys.orig_argv[-1].endswith(".child"):  # on a worker only
                raise RuntimeError("no such luck")
            return mlp()
        said = []
        for build, data in ((mlp, (bad, Y)), (broken, (X, Y))):
            try:
                occam.train(build, data, batch_size=128, shuffle=False)
            except occam.TrainingFailed as failed:
                said.append([str(failed), failed.trace, left()])
    """)
    (number, _, left), (mistake, trace, none) = said
    # Whether relu passes on what is no number, and so the loss shows it, is the processor's.
    assert re.match("the (loss is nan|gradient is no finite number) at epoch 1, step 16, on rank 1 only; ", number)
    assert "; rank 1: 1 of its 64 rows have NaN" in number
    assert "failed: RuntimeError: no such luck" in mistake
    assert "in broken" in trace
    assert left == none == 0


def test_a_notebook_shows_it_live_and_the_stop_button_ends_it(notebook_image: tuple[object, str]) -> None:
    with spark_stage.built() as (engine, image), spark_stage.stage(engine, image) as there:
        said = there.python(f"""
            from notebook_kernel import Notebook
            book = Notebook()
            book.run("import occam; spark = occam.spark(workers=2, memory='2G')")
            book.run({SETUP!r})
            said = [book.run("r = occam.train(mlp, (X, Y), epochs=2, batch_size=8); r")]
            asked = "occam.train(mlp, (X, Y), epochs=500, batch_size=8)"
            said.append(book.run(asked, interrupt_at="epoch 2 of"))
            said.append(book.run("print(left(10), spark.range(3).count())"))
            book.shut_down()
        """)
    shown, stopped, after = said
    assert any("<progress" in one and "samples/s" in one for one in shown)
    assert "<svg" in shown[-1]
    assert ["error", "KeyboardInterrupt", ""] in stopped
    # On a busy machine the count has a bar as well, which is taken away behind it.
    assert any(str(one).strip() == "0 3" for one in after), after


LARGE = """
import time
end = time.time() + 60
while spark._held.registered() < {workers} and time.time() < end:
    time.sleep(0.2)
wide = spark.range(0, {rows}, 1, 40).selectExpr("array_repeat(float(rand(1)), 512) image", "int(id % 2) label")
def wider():
    model = keras.Sequential([keras.Input((512,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    return model
run = occam.train(wider, wide, epochs=1, batch_size=4092, workers={workers})
said = [run.rows * 512 * 4, run.workers, repr(run)]
"""


def test_more_data_than_a_worker_has_memory(stage: Stage) -> None:
    """One of three ranks is in a container of 1.25 GB; all rows, which Spark makes on the way, have 1.35 GB."""
    limit = 1280 * MIB
    with stage.executor(100, limit):
        held, workers, words = stage.cell(LARGE.format(rows=660_000, workers=3))
    assert held > limit
    assert workers == 3
    assert "resumed" not in words, "no worker ran out of memory"


@pytest.mark.soak
def test_a_rank_with_more_rows_than_its_worker_has_memory() -> None:
    """One of two ranks is in a container of 1.25 GB, and has 1.35 GB of rows."""
    limit = 1280 * MIB
    with spark_stage.built() as (engine, image), spark_stage.stage(engine, image) as there:
        there.start_kernel(workers=1, memory="2G")
        with there.executor(100, limit):
            there.cell(SETUP)
            held, workers, words = there.cell(LARGE.format(rows=1_320_000, workers=2), seconds=1500)
    assert held / workers > limit
    assert "resumed" not in words, "no worker ran out of memory"
