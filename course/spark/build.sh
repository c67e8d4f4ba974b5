#!/bin/bash
# Builds /opt/occam/spark/occam-spark.jar with the Scala compiler that is among pyspark's jars, and java.args,
# the part of the command line that every Spark JVM of a course shares (class path and module options).
# The class path is spelt out and sorted: a class data archive is only mapped when it is the same to the letter.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
home=$(readlink -f "${SPARK_HOME:?where pyspark is}")
to=${1:-/opt/occam/spark}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$to" "$work/classes/META-INF/services"
java -XX:TieredStopAtLevel=1 -cp "$home/jars/*" scala.tools.nsc.Main -usejavacp -deprecation -Werror \
  -d "$work/classes" "$here"/*.scala
echo org.apache.spark.scheduler.cluster.occam.OccamClusterManager \
  > "$work/classes/META-INF/services/org.apache.spark.scheduler.ExternalClusterManager"
cp "$here/log4j2.properties" "$work/classes/"
python3 - "$work/classes" "$to/occam-spark.jar" <<'PY'
import sys, zipfile
from pathlib import Path
classes, jar = Path(sys.argv[1]), sys.argv[2]
with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as out:
    for file in sorted(path for path in classes.rglob("*") if path.is_file()):
        out.writestr(zipfile.ZipInfo(str(file.relative_to(classes))), file.read_bytes())
PY

{
  printf -- '-cp\n%s' "$to/occam-spark.jar"
  find "$home/jars" -maxdepth 1 -name '*.jar' | LC_ALL=C sort | while read -r jar; do printf ':%s' "$jar"; done
  echo
  # Spark's own launcher prints the command it would run, each word ended by a NUL.
  SPARK_HOME=$home SPARK_SCALA_VERSION=2.13 java -cp "$home/jars/*" org.apache.spark.launcher.Main org.apache.spark.deploy.SparkSubmit pyspark-shell |
    tr '\0' '\n' | grep -E '^(--add-|-XX:|-D)'
  # Mapped at a random place, as is the default since 17.0.7, an archive is copied and corrected by each JVM: a tenth of a
  # second of CPU, and 100 MB that all JVMs of a host would share.
  printf '%s\n' -XX:+UnlockDiagnosticVMOptions -XX:ArchiveRelocationMode=0
  # Five times Java's own: what is hot in a job gets there within seconds, what is only the start does not.
  printf '%s\n' -XX:Tier4InvocationThreshold=25000 -XX:Tier4MinInvocationThreshold=3000 \
    -XX:Tier4CompileThreshold=75000 -XX:Tier4BackEdgeThreshold=200000
} > "$to/java.args"
