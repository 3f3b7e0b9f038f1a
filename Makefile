# `make demo` and `make test` work from a fresh clone with nothing but Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo
# Modules are compiled when they are first imported: compiling all of torch would take most of the set-up.  They are kept
# compiled, whatever the environment says: the suite starts processes by the dozen, each of which would compile anew.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The newest Python from 3.12 on that is at hand and runs, for ArviZ 1.x; nothing where there is none.
NEWER_PYTHON := $(shell for p in python3.14 python3.13 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.1[234]*/bin/python); do $$p -c '' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test arviz1 check bench tables notebooks clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.stamp
	$(BIN)/neuropyro demo --out $(OUT)

# Two processes, a thread each: more threads than cores wait for each other, and the suite with them.
test check: export OMP_NUM_THREADS = 1
test check: export OPENBLAS_NUM_THREADS = 1

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

# What is written for ArviZ, once more under ArviZ 1.x, in an environment of its own.
ifeq ($(NEWER_PYTHON),)
arviz1:
	@echo "arviz1: skipped, no Python >= 3.12 is at hand"
else
arviz1: $(VENV)-arviz1/test.stamp
	$(VENV)-arviz1/bin/python -m pytest tests/inference/test_export.py tests/inference/test_arviz_tools.py tests/inference/test_weights.py

$(VENV)-arviz1/test.stamp: pyproject.toml
	$(NEWER_PYTHON) -m venv $(VENV)-arviz1
	$(VENV)-arviz1/bin/python -m pip --disable-pip-version-check --quiet install --editable ".[test]" "arviz>=1"
	touch $@
endif

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

# All notebooks, run from their .py files and kept with outputs beside them; one by its number: make notebooks ONLY=03
notebooks bench tables: export OMP_WAIT_POLICY ?= PASSIVE
# One thread: most steps of notebooks are too small for two, which would wait for each other.
notebooks: export OMP_NUM_THREADS ?= 1
notebooks: $(VENV)/notebooks.stamp
	$(BIN)/python notebooks/execute.py $(if $(ONLY),$(wildcard notebooks/$(ONLY)_*.py))

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --no-compile --constraint constraints.txt setuptools torch
	$(PIP) install --no-compile --constraint constraints.txt --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(PIP) install --no-compile --constraint constraints.txt --editable ".[test]"
	touch $@

$(VENV)/notebooks.stamp: $(VENV)/demo.stamp
	$(PIP) install --no-compile --constraint constraints.txt --editable ".[notebooks]"
	touch $@

$(VENV)/dev.stamp: $(VENV)/test.stamp
	$(PIP) install --no-compile --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-arviz1 $(OUT)
