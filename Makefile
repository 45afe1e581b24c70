# The verbs of the repository. Each installs what it needs into .venv; `make` alone names them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check bench docs

help:  ## name the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/.installed  ## make .venv with authproxy and its development tools

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "authproxy needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: .venv/.installed  ## run the program with a small backend and lines to try
	$(BIN)/authproxy demo

test: .venv/.installed  ## run the tests
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/real_parts.sh
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: .venv/.installed  ## long fuzzing, chaos, soak
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/real_parts.sh slow
	$(BIN)/python -m pytest -m slow

check: .venv/.installed  ## lint, types, house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_house.py

bench: .venv/.bench  ## CPU per request, GB and message beside other proxies, in one run
	$(BIN)/python -m bench --json docs/bench/results.json
	$(BIN)/python -m bench.page

.venv/.bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@

docs: .venv/.installed  ## build the documentation into site/, refusing dead links
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"
