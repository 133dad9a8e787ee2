# Run `make` to see what there is. Needs only make, a POSIX shell and Python 3.11 to 3.13.

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
EXAMPLES ?= 1000000

# Test processes at one time, one more than there are cores, since a third of their time goes by in waiting; 0 runs the
# tests in one process, for a debugger.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

# The first interpreter that runs, is of a version we support, and can make virtual environments. Each is run, not
# only looked up: version managers put commands on the path that fail when they are called.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	if $$name -c '$(FITS)' >/dev/null 2>&1; then command -v $$name; break; fi; done)

.DEFAULT_GOAL := help
.PHONY: help install browser node demo test lint types layers check coverage docs screenshots bench bench-ours soak fuzz-cron torture long format clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# uv installs in a quarter of pip's time, but knows nothing of how pip is configured here: where it fails, pip does it.
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
WANTED := --editable '.[dev]'

install: $(STAMP)  ## make .venv and install the package with all it needs (others do it by themselves)

$(STAMP): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11, 3.12 or 3.13 with the venv module was found." >&2; \
		echo "Install one (on Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
	@echo "Installing into $(VENV) with $(PYTHON); this takes a few minutes the first time." >&2
	@$(BIN)/python -c '$(FITS)' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@{ $(PIP) uv && UV_HTTP_TIMEOUT=15 UV_HTTP_RETRIES=1 $(BIN)/uv pip install --quiet --python $(BIN)/python $(WANTED); } \
		2>/dev/null || $(PIP) --no-compile $(WANTED)
	@touch $@

# Without Node or an npm registry the tests of the contract's other readers are skipped, and say so: `make test` waits
# for a registry for seconds only. `make node` fails there, and CI runs it before the tests.
NODE_FOLDERS := tests/contract docs/examples/node
NODE_STAMPS := $(NODE_FOLDERS:%=%/node_modules/.installed)
NPM_LIMITS := --fetch-retries=2 --fetch-timeout=60000
NPM_FAILED := exit 1

node: $(NODE_STAMPS)  ## install what the JavaScript examples and contract tests need, where there is Node

%/node_modules/.installed: %/package.json
	@command -v npm >/dev/null 2>&1 || { echo "No npm: $* has none of its packages." >&2; $(NPM_FAILED); }; \
	echo "Installing into $*/node_modules" >&2; \
	if npm install --prefix $* --no-package-lock --no-audit --no-fund --ignore-scripts --silent $(NPM_LIMITS); then touch $@; \
	else echo "The packages of $* could not be installed: is there an npm registry?" >&2; $(NPM_FAILED); fi

demo: $(STAMP)  ## run a real service and watch tasks created by another process run (20 s)
	@$(BIN)/python -m aico_sched.demo

browser:  ## install Chromium for the dashboard's tests, where that can be done
	@if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing Chromium for the dashboard's tests." >&2; \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
				chromium fonts-dejavu-core; } >/dev/null 2>&1 || echo "Chromium could not be installed." >&2; \
		else echo "No Chromium: the dashboard's tests are skipped. Install it with your package manager." >&2; fi; fi

test: NPM_LIMITS := --fetch-retries=0 --fetch-timeout=10000
test: NPM_FAILED := echo "The tests that need them are skipped." >&2; exit 0
test: $(STAMP) node browser  ## run the whole test suite
	@$(PYTEST) -q --numprocesses $(JOBS) --dist worksteal

lint: $(STAMP)  ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)  ## check types strictly
	@$(BIN)/mypy

layers: $(STAMP)  ## check that no room imports another it must not know
	@$(BIN)/lint-imports --no-logo

check: lint types layers test  ## everything CI does

coverage: $(STAMP)  ## run the tests and show the lines no test reaches
	@$(BIN)/coverage run -m pytest -q
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered

screenshots: $(STAMP) browser  ## draw the README's pictures of the dashboard anew, into docs/images
	@$(BIN)/python -m tests.integration.api.screenshots

docs: $(STAMP)  ## build the manual into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(STAMP)  ## measure this project and its peers side by side (40 minutes; QUICK=1 in a few)
	@$(BIN)/python tests/benchmarks/compare.py $(if $(QUICK),--quick)
	@$(BIN)/python tests/benchmarks/scale.py $(if $(QUICK),--quick)

bench-ours: $(STAMP)  ## measure this project alone, each part against its goals
	@$(BIN)/python tests/benchmarks/run.py $(if $(QUICK),--quick) --json build/bench/ours.json

soak: $(STAMP)  ## 500 executions and 1,000 commands a second for 2 minutes (LONG=1: 30): does it leak or fall behind?
	@$(BIN)/python tests/benchmarks/soak.py $(if $(LONG),--seconds 1800) --out build/bench/soak.json

fuzz-cron: $(STAMP)  ## compare the cron engine with another one on EXAMPLES random expressions
	@AICO_FUZZ_CRON_EXAMPLES=$(EXAMPLES) $(PYTEST) -q --timeout 0 tests/property/test_cron_oracle.py

torture: $(STAMP)  ## kill a running service 200 times, flood it and confuse it (half an hour)
	@AICO_SCHED_LONG=1 $(PYTEST) -q tests/torture

long: $(STAMP)  ## the test suite in its full sizes
	@AICO_SCHED_LONG=1 AICO_FUZZ_CRON_EXAMPLES=$(EXAMPLES) $(PYTEST) -q

format: $(STAMP)  ## mend style and formatting where a tool can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## remove everything that was made here
	rm -rf $(VENV) $(NODE_FOLDERS:%=%/node_modules) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
