# Every target works on a fresh clone of a bare Debian 12. The virtual environment is made on first use and again when
# the pins change.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Expanded when it is used, so that a Python that .ci/packages has just installed is found.
PYTHON = $(firstword $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do command -v $$p; done))

# Half of their time tests wait for something.
PYTEST = $(BIN)/pytest -n $$(( $$(nproc) * 5 / 2 )) --dist worksteal

# Where it is set, every process that a test starts would compile what it imports once more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-release test-system lint bench figures soak clean packages

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## see it work: a repository, an upstream, a worker, a manager and the page, all real
	@$(BIN)/python -m tests.e2e.demo

test: $(READY) ## unit tests and end-to-end tests with real rsync, git and processes
	$(PYTEST)

test-release: $(READY) ## before a release: `make test`, and the largest cases of what it has in small
	$(PYTEST) -m ""

test-system: $(READY) ## as root, on a machine to try things out: real systemd and whatever else `make test` cannot have
	@.ci/packages system
	$(BIN)/pytest tests/system

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## what things cost, beside an older commit: make bench OLD=COMMIT [ONLY="tick run"] [ROUNDS=21]
	@$(BIN)/python -m tests.bench.compare $(if $(OLD),--old $(OLD)) $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

figures: $(READY) ## how much and how fast, each figure beside a baseline of the same minute
	@$(BIN)/python -m tests.bench

soak: $(READY) ## kill processes at random moments and see whether anything is lost or doubled
	@$(BIN)/python -m tests.soak

clean: ## remove what the other targets made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache

packages:
	@.ci/packages

$(READY): pyproject.toml constraints.txt | packages
	@echo "== preparing $(VENV), once"
	@$(PYTHON) -m venv --clear $(VENV)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@
