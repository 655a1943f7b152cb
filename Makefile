# Tollway: `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PORT   ?=
CONFIG ?=
TARGETS ?=
# The shell has a SECONDS of its own, which counts; only one that was said to make is meant.
FUZZ_SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),600)
VENV   := .venv
BIN    := $(VENV)/bin
UV     := .boot/bin/uv
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: help serve test check fix faults fuzz splits clients bench docs lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

# --- environments: made once, remade when a lock file changes --------------------------------------------------------

$(UV): requirements-boot.lock
	@$(PYTHON) -c 'import sys; sys.exit("Tollway needs Python 3.11 or newer; PYTHON=/path/to/python3 names another one") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv --clear .boot
	@.boot/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-boot.lock
	@touch $@

$(BIN)/python: | $(UV)
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing the locked requirements into $(VENV)"
	@test -e $(VENV)/.test || $(UV) pip sync --quiet --python $(BIN)/python --require-hashes --only-binary :all: requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.test: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "installing the locked development requirements into $(VENV)"
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --only-binary :all: requirements-dev.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@ $(VENV)/.serve

$(VENV)/.fuzz: requirements-fuzz.lock $(VENV)/.test
	@echo "installing the locked fuzzer into $@"
	@rm -rf $@
	@$(UV) pip install --no-config --quiet --python $(BIN)/python --require-hashes --only-binary :all: --target $@ -r requirements-fuzz.lock
	@touch $@

# --- what people run -----------------------------------------------------------------------------------------------

serve: $(VENV)/.serve ## Set everything up and serve on 127.0.0.1:4000 (PORT=, CONFIG=)
	@exec $(BIN)/tollway serve $(if $(CONFIG),--config "$(CONFIG)") $(if $(PORT),--port $(PORT))

test: $(VENV)/.test check ## Set everything up and pass the tests
	@$(BIN)/pytest -n auto --dist loadfile

check: $(VENV)/.test ## Lint, types, import arrows, generated docs (under 30 s)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m docs.generate --check

faults: $(VENV)/.test ## Inject every fault of the catalogue, and show what came of it (about a minute)
	@$(BIN)/python -m tests.faults.catalogue

fix: $(VENV)/.test ## Format, and mend what the linter can mend
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

docs: $(VENV)/.test ## Write the generated pages (configuration, errors)
	@$(BIN)/python -m docs.generate

fuzz: $(VENV)/.fuzz ## Look for bytes that break what reads them (SECONDS=600 for each TARGETS=, by default all)
	@PYTHONPATH=$(VENV)/.fuzz $(BIN)/python -m tests.fuzz $(TARGETS) --seconds $(FUZZ_SECONDS)

splits: $(VENV)/.test ## Ten thousand random splits of the streams of every protocol
	@SPLITS=10000 $(BIN)/pytest tests/providers/test_splits.py

clients: $(VENV)/.test ## Real coding agents, SDKs and frameworks as clients (needs node and npm, takes 900 MB; go and java where there are)
	@mkdir -p .clients && cp -u tests/clients/agents/package.json tests/clients/agents/package-lock.json .clients
	@cd .clients && { test .installed -nt package-lock.json || { npm ci --ignore-scripts --no-audit --no-fund && touch .installed; }; }
	@CLIENTS=.clients $(BIN)/pytest tests/clients/coding_agents.py tests/clients/libraries.py tests/clients/test_node_sdk.py

bench: $(VENV)/.test ## Measure the running proxy (PEERS=litellm measures LiteLLM's proxy beside it)
	@$(BIN)/python -m benchmarks.load.run $(if $(PEERS),--peers $(PEERS))

lock: $(UV) ## Resolve the requirements anew and pin them by hash
	@$(COMPILE) pyproject.toml -o requirements.lock
	@$(COMPILE) pyproject.toml --group dev -o requirements-dev.lock
	@$(COMPILE) requirements-boot.in -o requirements-boot.lock
	@$(COMPILE) requirements-fuzz.in -o requirements-fuzz.lock

clean: ## Remove the environments and caches (state under TOLLWAY_HOME stays)
	@rm -rf .venv .boot .fuzz .clients .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
