#!/usr/bin/env bash
# Check dist/ as strangers will meet it: check_release.sh PYTHON. Needs no Node, uploads nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step() { echo "== $*"; }
environment() { # a bare virtual environment, as the name of its Python
  scripts/make_venv.sh "$python" "$work/$1" && echo "$work/$1/bin/python"
}
quietly=(-m pip --disable-pip-version-check install --quiet)

wheels=(dist/*.whl) archives=(dist/*.tar.gz)
if [ ${#wheels[@]} != 1 ] || [ ! -f "${wheels[0]}" ] || [ ! -f "${archives[0]}" ]; then
  echo "dist/ must hold one wheel and one sdist: run 'make build' first." >&2
  exit 1
fi
wheel=$PWD/${wheels[0]} archive=$PWD/${archives[0]}

step "metadata, and the README as an index renders it"
tools=$(environment tools)
"$tools" "${quietly[@]}" build twine
"$tools" -m twine check --strict dist/*

step "a wheel made from the sdist, without Node, is the same wheel"
mkdir "$work/bin"
printf '#!/bin/sh\necho "Node was called" >&2\nexit 1\n' >"$work/bin/node"
chmod +x "$work/bin/node" && cp "$work/bin/node" "$work/bin/npm"
tar -xzf "$archive" -C "$work"
(cd "$work"/vene_widgets-*/ && PATH="$work/bin:$PATH" "$tools" -m build --wheel --outdir "$work/again" . >/dev/null)
for file in "$wheel" "$work"/again/*.whl; do
  "$tools" -c 'import sys, zipfile
for part in sorted(zipfile.ZipFile(sys.argv[1]).infolist(), key=lambda part: part.filename):
    print(part.filename, part.CRC)' "$file" >"$work/$(basename "$(dirname "$file")").txt"
done
diff "$work/dist.txt" "$work/again.txt"

step "the wheel alone in a bare environment"
bare=$(environment bare)
SECONDS=0
# The newest versions that the ranges allow, but the pinned torch: others are gigabytes of CUDA.
grep '^torch==' constraints/dev.txt >"$work/torch.txt"
"$bare" "${quietly[@]}" -c "$work/torch.txt" "$wheel"
echo "installed in $SECONDS s, $(du -sm "$work/bare" | cut -f1) MB, $(du -sm "$work"/bare/lib/*/site-packages/torch | cut -f1) of them torch"
"$bare" -m pip --disable-pip-version-check check
cp scripts/try_wheel.py "$work"
cd "$work"
"$bare" -W error -I try_wheel.py
"$work/bare/bin/vene-widgets" --version
"$work/bare/bin/vene-widgets" models
step "passed"
