# Everything in a virtual environment of its own; only Python >= 3.11, make and git are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
PYTEST := $(BIN)/python -m pytest
# One BLAS thread a process: fits and tests run side by side.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help demo study test test-slow check format docs generate clean

help:
	@echo "make demo       install, run the whole job on shipped data (minutes), write $(DEMO)/figures"
	@echo "make study      install, run the full hyperparameter study on shipped data (a quarter hour)"
	@echo "make test       install, run the tests"
	@echo "make test-slow  the longer tests, the whole demonstration among them"
	@echo "make check      format, lint, types, floors, wheel content, generated pages"
	@echo "make format     format the code"
	@echo "make generate   write the generated pages of docs/ again"
	@echo "make docs       build the documentation into site/"
	@echo "make clean      remove the virtual environment and what was made"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "mlipdb needs Python >= 3.11; name one with make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/mlipdb demo $(DEMO)

study: $(VENV)/.installed
	$(BIN)/mlipdb demo $(DEMO)-study --study

test: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow" $(ARGS)
	$(PYTEST) --quiet --doctest-modules mlipdb

test-slow: $(VENV)/.installed-dev
	$(PYTEST) -m slow $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/export_schemas.py --check
	$(BIN)/python scripts/export_commands.py --check
	$(BIN)/python scripts/export_settings.py --check
	$(PYTEST) -q tests/test_wheel.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(VENV)/.installed
	$(BIN)/python scripts/export_schemas.py
	$(BIN)/python scripts/export_commands.py
	$(BIN)/python scripts/export_settings.py

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
