# Project commands; run `make` to list them. Each installs its missing dependencies.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
NPM := npm --prefix js --no-fund --no-audit
BUNDLE := vene_widgets/static/explorer.js
CONSTRAINTS := constraints/dev.txt

# Arguments of `vene-widgets demo`, e.g. DEMO_ARGS="--no-browser --port 9999".
DEMO_ARGS ?=
# Arguments of pytest in `make test` and the pytest targets, e.g. PYTEST_ARGS="-x -k sweep".
PYTEST_ARGS ?=
# Processes that run the unit tests.
WORKERS ?= 2
UNITS := -m "not browser and not notebook"
# Where `make devices` puts the models under test: second (simulated), cuda or mps.
DEVICE ?= second
# Which front ends `make frontends` tries, e.g. FRONTENDS="voila nbclassic"; all if empty.
FRONTENDS ?=
# Arguments of `make bench`, e.g. BENCH_ARGS="--quick --only sweep answer".
BENCH_ARGS ?=

# The public address that the README's links get on a package index; without one they become text.
REPOSITORY ?=
export VENE_REPOSITORY := $(REPOSITORY)

# Waiting torch threads sleep instead of spinning: tests share their cores with a browser and several
# kernels.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo test lint types js docs unit devices browser notebooks frontends oracle torture bench build \
  release clean \
  lint-python lint-js types-python types-js types-wire browsers

help: ## list these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.lab ## open the notebooks in JupyterLab (DEMO_ARGS="--no-browser --port 9999")
	@$(VENV)/bin/vene-widgets demo --folder .jupyter-demo $(filter-out demo,$(DEMO_ARGS))

# Unit tests run beside each other; what drives a browser or a kernel runs after them, one by one,
# and so its summary is the last line. A failing check does not stop the rest: every failure is
# reported, and the exit status is non-zero.
test: $(VENV)/.dev $(BUNDLE) browsers ## run every check: lint, types, js, docs, then all of pytest
	@failed=""; \
	for gate in lint types js docs; do \
	  echo "== $$gate"; \
	  $(MAKE) --no-print-directory --keep-going $$gate || failed="$$failed $$gate"; \
	done; \
	echo "== pytest: units"; \
	$(PY) -m pytest -n $(WORKERS) $(UNITS) $(PYTEST_ARGS) || failed="$$failed units"; \
	[ -z "$$failed" ] || echo "== FAILED:$$failed (see above); the rest runs all the same"; \
	echo "== pytest: notebooks, browser"; \
	$(PY) -m pytest -m "browser or notebook" $(PYTEST_ARGS) || failed="$$failed browser"; \
	[ -z "$$failed" ]

lint: lint-python lint-js ## check style, spelling and common mistakes: ruff, codespell, biome

types: types-python types-js types-wire ## check types: pyright, tsc, and that generated wire types are up to date

lint-python: $(VENV)/.dev
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(VENV)/bin/codespell README.md docs notebooks scripts tests vene_widgets js/src js/test js/dev

types-python: $(VENV)/.dev
	$(VENV)/bin/pyright

lint-js: js/node_modules/.installed
	$(NPM) run --silent lint

types-js: js/node_modules/.installed
	$(NPM) run --silent check

types-wire: $(VENV)/.dev js/node_modules/.installed
	PYTHON="$(CURDIR)/$(PY)" $(NPM) run --silent types:check

js: $(BUNDLE) ## build the widget's JavaScript bundle and run its tests
	$(NPM) run --silent test

docs: $(VENV)/.dev $(BUNDLE) ## build the documentation into site/; warnings are errors
	@echo "Executing changed notebooks and building the documentation, up to three minutes"
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet
	@echo "Open $(CURDIR)/site/index.html"

unit: $(VENV)/.dev $(BUNDLE) ## run pytest without notebook and browser tests
	$(PY) -m pytest -n $(WORKERS) $(UNITS) $(PYTEST_ARGS)

devices: $(VENV)/.dev $(BUNDLE) ## run the unit tests with their models on another device (DEVICE=cuda; default: simulated)
	$(PY) -m pytest $(UNITS) --device $(DEVICE) $(PYTEST_ARGS)

browser: $(VENV)/.dev $(BUNDLE) browsers ## run the browser tests in JupyterLab, marimo, Chromium and Firefox
	$(PY) -m pytest -m browser $(PYTEST_ARGS)

notebooks: $(VENV)/.dev $(BUNDLE) ## run every notebook from top to bottom
	$(PY) -m pytest -m notebook $(PYTEST_ARGS)

frontends: $(VENV)/.dev $(BUNDLE) browsers ## try the explorer in every front end, each in an environment of its own (FRONTENDS="voila nbclassic")
	@$(PY) tests/frontends $(FRONTENDS)

oracle: $(VENV)/.oracle ## compare numbers with TransformerLens' on the same weights (installs it)
	$(PY) -m pytest -rs tests/test_transformer_lens.py $(PYTEST_ARGS)

torture: $(VENV)/.dev $(BUNDLE) browsers ## run the long attacks: load, leaks, threads, faults, bad input; figures are printed
	$(PY) -m pytest --torture -rP --durations=0 $(PYTEST_ARGS)

bench: $(VENV)/.dev $(BUNDLE) ## run the benchmarks; slow results do not fail (BENCH_ARGS="--quick --only sweep")
	@$(PY) tests/bench $(BENCH_ARGS)

build: $(VENV)/.dev js/node_modules/.installed ## build sdist and wheel into dist/
	$(NPM) run --silent build
	rm -rf dist
	$(PY) -m build
	@ls -l dist

release: build ## build, then check both files in bare environments; uploads nothing (REPOSITORY=https://…)
	@scripts/check_release.sh $(PYTHON)

clean: ## remove build output; keep .venv and node_modules
	rm -rf dist build site .pytest_cache .ruff_cache .hypothesis .test-output .frontends vene_widgets/static
	find vene_widgets tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- prerequisites ----------------------------------------------------------------------------

$(VENV)/.made:
	@echo "Creating the virtual environment $(VENV)"
	@scripts/make_venv.sh $(PYTHON) $(VENV)
	@touch $@

# The bundle has its own rule below, so the editable install skips npm.
$(VENV)/.lab: pyproject.toml $(CONSTRAINTS) $(VENV)/.made | $(BUNDLE)
	@echo "Installing torch, JupyterLab and the package into $(VENV), about two minutes"
	@HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(PIP) install --quiet -c $(CONSTRAINTS) -e ".[lab]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS) $(VENV)/.made | $(BUNDLE)
	@echo "Installing torch, JupyterLab, the package and the test tools into $(VENV), about two minutes"
	@HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(PIP) install --quiet -c $(CONSTRAINTS) -e ".[dev]"
	@touch $@ $(VENV)/.lab

$(VENV)/.oracle: pyproject.toml $(CONSTRAINTS) $(VENV)/.dev
	@echo "Installing TransformerLens into $(VENV)"
	@HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(PIP) install --quiet -c $(CONSTRAINTS) -e ".[oracle]"
	@touch $@

js/node_modules/.installed: js/package.json js/package-lock.json
	@command -v npm >/dev/null || { echo "npm is not installed: install Node.js 20 or newer." >&2; exit 1; }
	@echo "Installing the JavaScript build tools"
	@$(NPM) ci --silent
	@touch $@

$(BUNDLE): js/node_modules/.installed js/package.json $(wildcard js/*.mjs js/*.json) $(shell find js/src -type f 2>/dev/null)
	@echo "Building the widget's JavaScript"
	@$(NPM) run --silent build

browsers:
	@scripts/ensure_browsers.sh
