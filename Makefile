# Each target makes what it needs, on a machine that has only Python 3.11 or newer, pip and make.
PY ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CORE = tests/unit/core $(foreach name,tally schedule model machine log encoding,tests/property/test_$(name).py)
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo prove test check bench docs mutants contract

$(BIN)/python:
	$(PY) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[demo]'
	touch $@

$(VENV)/.all: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[all]'
	touch $@ $(VENV)/.demo

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[all,dev]'
	touch $@ $(VENV)/.demo $(VENV)/.all

# The main job on real data: five learners, one of them hostile, one model.
demo: $(VENV)/.demo
	$(BIN)/colearn demo

# For a sceptic: a real chain, five processes, one killed, one byte changed. It needs npm or anvil.
prove: $(VENV)/.all
	$(BIN)/colearn prove

# The pure rules are covered branch by branch; then everything runs.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 $(CORE) --cov=colearn.core --cov-branch --cov-fail-under=100
	$(BIN)/python -m pytest -q -n 2 $(CORE:%=--ignore=%)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/build_contract.py --check
	$(BIN)/python docs/build.py

docs: $(VENV)/.dev
	$(BIN)/python docs/build.py

# Every number in docs/ comes from here.
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.all

# One-line faults, each of which a test must catch.
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants
	$(BIN)/python -m tests.contract_mutants

# The compiled contract that comes with the package, from its source.
contract: $(VENV)/.dev
	$(BIN)/python scripts/build_contract.py
