#!/usr/bin/env bash
# Make a virtual environment: make_venv.sh PYTHON FOLDER. A folder that works already is kept.
set -euo pipefail
python=$1 folder=$2

if [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
  exit 0
fi
if ! command -v "$python" >/dev/null; then
  echo "$python is not installed: install Python 3.10 or newer, or name one: make PYTHON=…" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  echo "$("$python" --version) is too old: Python 3.10 or newer is needed: make PYTHON=…" >&2
  exit 1
fi
# Debian keeps the wheel of pip that venv needs in a package of its own.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv
  else
    echo "$python cannot make virtual environments: run 'apt-get install python3-venv' as root." >&2
    exit 1
  fi
fi
"$python" -m venv "$folder"
