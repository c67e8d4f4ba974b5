"""One rank of a peer of `occam.train`: a program that runs by itself under TensorFlow's MultiWorkerMirroredStrategy.

    mwms.py hand|fit PARQUET WIDTH BATCH STEPS EPOCHS     TF_CONFIG says who it is and who the others are

hand  a loop over Keras 3 written by hand, the fastest of those that were tried: all gradients are one vector, which one
      operation adds up; batches are slices of arrays in memory
fit   `tf_keras`' own `fit` over a tf.data pipeline of the same arrays

Its part of the rows comes from the Parquet file. Says as JSON when its first step was done (Unix time), and the
milliseconds of a step in each epoch.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(how: str, path: str, width: int, batch: int, steps: int, epochs: int) -> str:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    x, y = rows(path, batch * steps)
    first, took = {"hand": by_hand, "fit": by_fit}[how](strategy, x, y, width, batch, epochs)
    return json.dumps({"first": first, "ms": [1000 * seconds / steps for seconds in took]})


def rows(path: str, most: int):
    """This rank's: of the file's row groups each rank has its own."""
    import numpy as np
    import pyarrow.parquet

    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    table = pyarrow.parquet.ParquetFile(path).read_row_groups([rank], use_threads=False).slice(0, most)
    x = np.stack([table[name].to_numpy() for name in table.column_names if name != "label"], 1).astype("float32")
    return np.ascontiguousarray(x), table["label"].to_numpy().astype("int32")


def network(keras, width: int):
    layers = [keras.layers.Dense(width, activation="relu"), keras.layers.Dense(width, activation="relu")]
    model = keras.Sequential([keras.Input((28,)), *layers, keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    return model


def by_hand(strategy, x, y, width: int, batch: int, epochs: int):
    import keras
    import tensorflow as tf

    with strategy.scope():
        model = network(keras, width)
        model.optimizer.build(model.trainable_variables)
    ranks = strategy.num_replicas_in_sync
    measure = keras.losses.BinaryCrossentropy()

    @tf.function
    def step(x, y):
        def here(x, y):
            variables = model.trainable_variables
            with tf.GradientTape() as tape:
                loss = measure(y, model(x, training=True))
            gradients = tape.gradient(loss, variables)
            flat = tf.concat([tf.reshape(one, [-1]) for one in [*gradients, loss]], 0) / ranks
            total = tf.distribute.get_replica_context().all_reduce("SUM", flat)
            *pieces, whole = tf.split(total, [*(one.shape.num_elements() for one in variables), 1])
            model.optimizer.apply([tf.reshape(a, b.shape) for a, b in zip(pieces, variables, strict=True)], variables)
            return whole

        return strategy.run(here, (x, y))

    first, took, losses = 0.0, [], []
    for _ in range(epochs):
        began = time.perf_counter()
        for at in range(0, len(x), batch):
            losses.append(float(step(tf.constant(x[at : at + batch]), tf.constant(y[at : at + batch, None]))[0]))
            first = first or time.time()
        took.append(time.perf_counter() - began)
    return first, took


def by_fit(strategy, x, y, width: int, batch: int, epochs: int):
    import tensorflow as tf
    import tf_keras

    with strategy.scope():
        model = network(tf_keras, width)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch * strategy.num_replicas_in_sync, drop_remainder=True)
    # Each rank takes its share of a global batch out of rows that it has twice, which no other does.
    data = data.repeat().with_options(options)

    class Clock(tf_keras.callbacks.Callback):
        first, took = 0.0, []

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self.began = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.first = self.first or time.time()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.took.append(time.perf_counter() - self.began)

    clock = Clock()
    model.fit(data, epochs=epochs, steps_per_epoch=len(x) // batch, callbacks=[clock], verbose=0)
    return clock.first, clock.took


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
