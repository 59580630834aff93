# Two commands carry a newcomer: `make run` starts the gateway with nothing configured, `make test` passes everything.
# A python that is on the PATH may still not run (a pyenv shim), so each candidate is tried.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

# Tests wait for gateways as long as they compute: half as many again as there are cores keep these busy.
WORKERS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))

.PHONY: run test coverage lint scan demo format lock clean

run: .venv/.installed
	@$(BIN)/conduit serve

demo: .venv/.installed
	@$(BIN)/conduit demo

test: .venv/.installed-dev
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

coverage: .venv/.installed-dev
	@$(BIN)/python -m coverage run -m pytest
	@$(BIN)/python -m coverage report --format=total | sed 's/^/branch coverage without what gateways started as processes ran: /; s/$$/ %/'

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

scan:
	@scripts/scan

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Locks name versions and hashes, and no index. One version of a package in all three: they are installed together.
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11
lock: .venv/.installed-dev
	$(LOCK) --group build -o requirements-build.txt
	$(LOCK) --constraint requirements-build.txt pyproject.toml -o requirements.txt
	$(LOCK) --constraint requirements.txt pyproject.toml --group dev -o requirements-dev.txt

clean:
	rm -rf .venv .venv-tools .venv-scan .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with venv was found; install one (Debian: apt install python3.11-venv)"; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python requirements.txt requirements-build.txt pyproject.toml
	@echo "installing into .venv ..."
	@$(PIP) -r requirements-build.txt -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.txt
	@$(PIP) -r requirements-dev.txt
	@touch $@
