# Every target works on a fresh clone of a bare Debian 12. The virtual environment is made on first use, and again when
# the pins change.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := $(VENV)/.compiled
LOWEST := build/lowest
# Expanded when it is used, so that a Python that .ci/packages has just installed is found.
PYTHON = $(firstword $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do command -v $$p; done))

# Tests wait for something much of their time, so more processes than cores run them. Each costs seconds to start.
WORKERS = -n $$(( $$(nproc) * 2 )) --dist worksteal
PYTEST = $(BIN)/pytest $(WORKERS)
UNIT_TESTS = tests/test_architecture.py tests/test_prepared.py tests/schemas tests/runner tests/sitegen

PIP = PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT

# Where it is set, every process that a test starts would compile what it imports once more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-release test-system test-lowest coverage lint bench figures soak clean packages

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## see it work: a real repository, upstream, worker, manager and site
	@$(BIN)/python -m tests.e2e.demo

test: $(COMPILED) ## unit tests and end-to-end tests with real rsync, git and processes
	$(PYTEST)

test-release: $(COMPILED) ## before a release: `make test` with all cases
	$(PYTEST) -m ""

test-system: $(READY) ## as root, on a test machine: tests that need a real systemd, containers or file systems
	@.ci/packages system
	$(BIN)/pytest tests/system

test-lowest: packages ## unit tests with the lowest version of each package that pyproject.toml allows
	@mkdir -p build
	@$(PYTHON) .ci/lowest.py > $(LOWEST).txt
	@$(PYTHON) -m venv --clear $(LOWEST)
	@$(PIP)=$(LOWEST).txt $(LOWEST)/bin/pip install --quiet --editable '.[dev]'
	$(LOWEST)/bin/pytest $(WORKERS) $(UNIT_TESTS)

coverage: $(COMPILED) ## which lines and branches the unit tests reach; slower than `make test`
	rm -f build/coverage/data*
	$(BIN)/coverage run -m pytest $(WORKERS) $(or $(ONLY),$(UNIT_TESTS))
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage html --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## CPU time and counts beside an older commit: make bench OLD=COMMIT [ONLY="tick run"] [ROUNDS=21]
	@$(BIN)/python -m tests.bench.compare $(if $(OLD),--old $(OLD)) $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

figures: $(READY) ## throughput and latency, each figure beside a baseline of the same minute
	@$(BIN)/python -m tests.bench

soak: $(READY) ## kill processes at random moments, and check that no report is lost or doubled
	@$(BIN)/python -m tests.soak

clean: ## remove the files that the other targets made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache

packages:
	@.ci/packages

$(READY): pyproject.toml constraints.txt | packages
	@echo "== preparing $(VENV), once"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP)=constraints.txt $(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

# Else each of the processes that run the tests would compile all of them at the same time.
$(COMPILED): $(READY)
	@echo "== compiling the tests, once"
	@$(BIN)/pytest --collect-only -qq tests/runner > /dev/null & \
	$(BIN)/pytest --collect-only -qq tests/docs tests/e2e tests/schemas tests/sitegen > /dev/null; wait
	@touch $@
