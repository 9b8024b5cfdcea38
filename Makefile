# The whole toolbox. `make` lists it; `make demo` and `make test` need only python3 with venv, and make.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3
SEEDS  ?= 4000
SEED   ?= 587
DAYS   ?= 2000

BIN    := .venv/bin
UV     := $(BIN)/uv
READY  := .venv/.ready
# One worker more than the two cores of a small machine: some tests wait for a real server, a mail or
# a minute to pass, and another one has the core meanwhile. Whoever is idle takes what is left.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal

# Behind a company's proxy the system knows the certificates, and uv's own bundle does not.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),true,false)

# The locks name no host: which mirror to use is the environment's business.
COMPILE := $(UV) pip compile pyproject.toml --all-extras --universal --generate-hashes \
	--no-emit-index-url --no-header --quiet

.PHONY: help setup demo test check quick sim sim-one bench bench-detect bench-canary docs lock clean

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(READY) ## Make the environment in .venv, nothing else

demo: $(READY) ## Watch a bad prompt roll back
	@$(BIN)/knowngood demo

test: check ## All checks and the whole test suite
	$(PYTEST)

check: $(READY) ## Style, types and imports, in seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/test_tidy.py

quick: $(READY) ## Tests without PostgreSQL, browser and slow ones, and 200 simulated seeds
	$(PYTEST) -q -m "not postgres and not browser and not slow"
	$(BIN)/python -m knowngood.sim --seeds 200 --seconds 200

sim: $(READY) ## Simulate SEEDS=4000 worlds
	$(BIN)/python -m knowngood.sim --seeds $(SEEDS)

sim-one: $(READY) ## Replay one world: SEED=587
	$(BIN)/python -m knowngood.sim --seed $(SEED)

bench: $(READY) ## Measure against the peers
	@test -x .venv-bench/bin/python || $(UV) venv --quiet --python $(BIN)/python .venv-bench
	$(UV) pip sync --quiet --require-hashes --python .venv-bench/bin/python bench/requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --python .venv-bench/bin/python -e .
	.venv-bench/bin/python bench/run.py
	$(BIN)/python bench/run.py pages

bench-detect: $(READY) ## Measure false alarms and delays: DAYS=2000
	$(BIN)/python -m bench.detect --days $(DAYS)

bench-canary: $(READY) ## Measure what a canary saves on real traffic
	$(BIN)/python -m bench.canary

docs: $(READY) ## Write the generated pages of the documentation
	$(BIN)/python docs/generate.py

lock: $(READY) ## Resolve the dependencies anew
	$(COMPILE) --upgrade --group dev --output-file requirements.lock
	$(COMPILE) --upgrade --group bench --constraints requirements.lock --output-file bench/requirements.lock

clean: ## Remove the environments and every cache
	rm -rf .venv .venv-bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything below makes .venv. The stamp makes the second time free.
$(READY): $(UV) requirements.lock pyproject.toml
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# uv comes out of the lock like everything else: its lines are the block that starts with uv==.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "knowngood needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@awk '/^[^ #]/ { keep = /^uv==/ } keep' requirements.lock > .venv/uv.lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r .venv/uv.lock.txt
