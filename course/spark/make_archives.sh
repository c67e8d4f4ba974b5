#!/bin/bash
# Makes the course's data (make_data.py), then driver.jsa and executor.jsa (class data archives: a JVM maps the classes instead of loading them) from one small
# run of the very classes that a course uses, as the user that will use them, and shows that they are really mapped.
# An archive is bound to the JVM and to the class path of java.args, so both are made in the image itself.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
to=${1:-/opt/occam/spark}
python=${PYSPARK_PYTHON:-/opt/occam/venv/bin/python}

"$python" "$here/make_data.py" "${2:-/opt/occam/data}"
rm -f "$to/driver.jsa" "$to/executor.jsa"
"$python" "$here/warm_up.py" "$to" record
"$python" "$here/warm_up.py" "$to" check
chmod 0444 "$to"/*.jsa
ls -l "$to"
