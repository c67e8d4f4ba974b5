#!/bin/sh
# A virtual environment in .venv with this package and, when named, one of its extras:  tests/venv.sh [dev]
# Any Python from 3.11 on serves; on a Debian without python3-venv that package is installed first, and said so.
set -eu
cd "$(dirname "$0")/.."
extra=${1:-}

good() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for one in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$one" >/dev/null && good "$one"; then python=$one && break; fi
done
[ -n "$python" ] || { echo "occamctl needs Python 3.11 or newer; none of python3, python3.11 … is" >&2; exit 1; }

root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if ! good .venv/bin/python; then
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        command -v apt-get >/dev/null || { echo "$python has no ensurepip; install your system's package for venv" >&2; exit 1; }
        echo "$python lacks ensurepip: installing Debian's python3-venv with apt"
        root env DEBIAN_FRONTEND=noninteractive apt-get -q -y update
        root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends python3-venv
    fi
    echo "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
echo "installing occamctl${extra:+ and what its tests need} into .venv"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}"
touch .venv/.has-occamctl ${extra:+".venv/.has-$extra"}
