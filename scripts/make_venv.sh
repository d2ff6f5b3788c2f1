#!/usr/bin/env bash
# Create a virtual environment: make_venv.sh PYTHON FOLDER. A working one is left as it is.
set -euo pipefail
python=$1 folder=$2

if [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
  exit 0
fi
if ! command -v "$python" >/dev/null; then
  echo "$python is not installed: install Python 3.10 or newer, or choose one with make PYTHON=…" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  echo "$("$python" --version) is too old: expected Python 3.10 or newer. Choose one with make PYTHON=…" >&2
  exit 1
fi
# On Debian, ensurepip is in a separate package, python3-venv.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv
  else
    echo "$python cannot create virtual environments: run 'apt-get install python3-venv' as root." >&2
    exit 1
  fi
fi
"$python" -m venv "$folder"
