# `make demo` and `make test` work from a fresh clone with nothing but Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test check bench tables clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.stamp
	$(BIN)/neuropyro demo --out $(OUT)

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench: $(VENV)/demo.stamp
	$(BIN)/python benchmarks/step_cost.py
	$(BIN)/python benchmarks/large_cortex.py

tables: $(VENV)/demo.stamp
	$(BIN)/python benchmarks/reference_sweeps.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt setuptools torch
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(PIP) install --constraint constraints.txt --editable ".[test]"
	touch $@

$(VENV)/dev.stamp: $(VENV)/test.stamp
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
