"""Stock Spark standalone, as its documentation has it: by `docker stack deploy`, or as plain processes."""

from __future__ import annotations

STACK = """\
version: "3.8"
services:
  master:
    image: {image}
    hostname: spark-master
    user: "1000"
    command: [spark-class, org.apache.spark.deploy.master.Master, --host, spark-master, --port, "7077"]
    networks: {{own: {{aliases: [spark-master]}}}}
    deploy: {{endpoint_mode: dnsrr, resources: {{limits: {{cpus: "1", memory: 1G}}}}}}
  worker:
    image: {image}
    user: "1000"
    command: [spark-class, org.apache.spark.deploy.worker.Worker, --cores, "1", --memory, 512m, --work-dir, /tmp/work,
      "spark://spark-master:7077"]
    networks: [own]
    deploy: {{endpoint_mode: dnsrr, replicas: {workers}, resources: {{limits: {{cpus: "1", memory: 1G}}}}}}
networks:
  own: {{external: true, name: {network}}}
"""

DRIVER = """
import os, socket, time
from pyspark.sql import SparkSession
while True:
    try:
        socket.create_connection(("{master}", 7077), timeout=2).close()
        break
    except OSError:
        time.sleep(0.1)
_here = os.environ.get("OCCAM_DRIVER_HOST", "127.0.0.1")
spark = (
    SparkSession.builder.master("spark://{master}:7077").appName("lab").config("spark.ui.showConsoleProgress", "false")
    .config("spark.driver.host", _here).config("spark.driver.bindAddress", _here).config("spark.driver.memory", "512m")
    .config("spark.executor.memory", "512m").config("spark.executor.cores", "1").config("spark.cores.max", "{workers}")
    .getOrCreate()
)
"""
"""Of a notebook with 2G: the heap of driver and executors is what ours have."""

PROCESSES = """
spark-class org.apache.spark.deploy.master.Master --host 127.0.0.1 --port 7077 &
for _ in $(seq {workers}); do
  spark-class org.apache.spark.deploy.worker.Worker --cores 1 --memory 512m --work-dir $(mktemp -d) --webui-port 0 \\
    --host 127.0.0.1 spark://127.0.0.1:7077 &
done
wait
"""
