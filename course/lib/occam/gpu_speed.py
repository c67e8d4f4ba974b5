"""How fast TensorFlow multiplies matrices on this container's GPU, and on its CPUs: `python -m occam.gpu_speed`.

Prints one line of JSON: `gpus` (devices that TensorFlow sees), `gpu` and `cpu` (GFLOP/s of float32, the median of
several products; null without a GPU), `cores` and `tensorflow` (its version). `occamctl gpu check --deep` runs it.
"""

from __future__ import annotations

import json
import os
import statistics
import time

GPU_SIZE, CPU_SIZE = 8192, 2048
"""Rows and columns: large enough that the device computes, not the launch of its work."""
LEAST_SECONDS, LEAST_RUNS, MOST_RUNS = 1.0, 3, 50


def speed(device: str, size: int) -> float:
    """GFLOP/s of products of two `size` x `size` matrices on a device of TensorFlow."""
    import tensorflow as tf

    with tf.device(device):
        a, b = tf.random.normal((size, size)), tf.random.normal((size, size))
        took: list[float] = []
        while len(took) < MOST_RUNS and (len(took) <= LEAST_RUNS or sum(took) < LEAST_SECONDS):
            began = time.perf_counter()
            tf.reduce_sum(tf.matmul(a, b)).numpy()  # the number has to come back, so the product is done
            took.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(took[1:]) / 1e9  # the first one also loads the library


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    said = {
        "gpus": [tf.config.experimental.get_device_details(one).get("device_name", one.name) for one in gpus],
        "gpu": round(speed("/GPU:0", GPU_SIZE), 1) if gpus else None,
        "cpu": round(speed("/CPU:0", CPU_SIZE), 1),
        "cores": len(os.sched_getaffinity(0)),
        "tensorflow": tf.__version__,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
