# Everything that is run here needs python3.11 or newer, git and make; the rest is put into .venv.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
export UV_HTTP_TIMEOUT ?= 180

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check format docs bench constraints clean

help: ## what there is
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## a virtual environment with everything in it

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Conveyor needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup ## the whole story at speed, with a report; DATA=folder of published transactions, ARGS=more options
	@$(BIN)/conveyor demo $(if $(DATA),--data $(DATA)) $(ARGS)

up: setup ## start Conveyor for the projects of this folder
	@$(BIN)/conveyor up $(ARGS)

test: setup ## all tests; ARGS goes to pytest
	@$(BIN)/pytest $(ARGS)

check: setup ## lint, format, types, layers, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q tests/docs

format: setup ## put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## write the generated parts of docs/ anew
	$(BIN)/python docs/generate.py

bench: setup ## every benchmark
	@set -e; for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file $(ARGS); done

bench-%: setup ## one benchmark: bench-serving runs bench/serving.py
	@$(BIN)/python bench/$*.py $(ARGS)

constraints: setup ## the versions of .venv, as constraints.txt
	@$(BIN)/uv pip freeze --python $(BIN)/python | grep -v '^-e' > $(VENV)/frozen.txt
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev -c $(VENV)/frozen.txt \
	     --no-annotate --no-header --no-emit-index-url pyproject.toml \
	     | grep -v win32 | sed 's/ ; platform_python_implementation.*//'; } > $(VENV)/constraints.txt
	@mv $(VENV)/constraints.txt constraints.txt

clean: ## remove caches and builds; .venv and .conveyor stay
	@rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .bench
	@find src tests examples bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
