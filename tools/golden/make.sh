#!/bin/sh
# Makes the golden fixtures with Python: tools/golden/make.sh [NAME…], e.g. `make.sh models/gpt2`; without names all of them.
# LFM_PYTHON names an interpreter that has requirements.txt installed; without it a venv is made under .cache/golden-venv.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${LFM_PYTHON:-}
if [ -z "$python" ]; then
  venv="$root/.cache/golden-venv"
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
  python="$venv/bin/python"
fi
cd "$here"
exec env PYTHONDONTWRITEBYTECODE=1 "$python" make.py "$@"
