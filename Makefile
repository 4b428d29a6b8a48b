# Needs Python 3.10 or newer and make; everything else is installed into .venv.
# PYTHON=python3.12 chooses the interpreter, ARGS="..." goes to the tool a target runs.

PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
PIP := python -m pip --disable-pip-version-check
ARGS ?=
SERVE ?=

# An empty file for each dependency group that is installed, so that repeated runs start at once.
DEMO_READY := $(VENV)/.ready-demo
TEST_READY := $(VENV)/.ready-test
DEV_READY := $(VENV)/.ready-dev
FUZZ_READY := $(VENV)/.ready-fuzz
DOCS_READY := $(VENV)/.ready-docs
# Its own environment: what is measured shares nothing with what the tests need.
PEERS_READY := $(PEERS)/.ready-peers

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint audit types soak bench bench-peers fuzz screenshots docs check-docs install clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO_READY) ## attack the sample site and print what happened; SERVE=1 leaves it running
	$(BIN)/python -m sample_project.demo $(if $(SERVE),--serve) $(ARGS)

test: $(TEST_READY) ## run the tests; ARGS chooses some of them
	$(BIN)/python -m pytest $(ARGS)

coverage: $(TEST_READY) ## run the tests and show the lines that none of them reached
	$(BIN)/python -m pytest --cov $(ARGS)

lint: $(DEV_READY) ## style, formatting and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

audit: $(DEV_READY) ## insecure code, and known vulnerabilities of what is installed; AUDIT=offline without the service
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive secguard
	$(BIN)/python .ci/audit.py $(ARGS)

types: $(DEV_READY) ## the type checks
	$(BIN)/mypy $(ARGS)

soak: $(TEST_READY) ## the long form of the tests under load: SIZE=100 is a million attempts
	SECGUARD_SOAK=$(or $(SIZE),10) $(BIN)/python -m pytest tests/end_to_end/test_bounded.py tests/end_to_end/test_crowds.py $(ARGS)

bench: $(TEST_READY) ## the benchmarks, as ratios beside bare Django
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(FUZZ_READY) ## look for inputs that break a promise; ARGS="line --seconds 600" chooses a target
	$(BIN)/python -m tests.fuzzing $(ARGS)

bench-peers: $(PEERS_READY) ## secguard beside its peers, into docs/benchmarks.md; ARGS=--quick, --print
	$(PEERS)/bin/python -m benchmarks.peers $(ARGS)

screenshots: $(TEST_READY) ## pictures of the dashboard under attack, into docs/screenshots; needs a Chromium
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

docs: $(DOCS_READY) ## build the documentation into build/docs; a warning is an error
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet $(ARGS) docs build/docs

check-docs: $(TEST_READY) ## hold the documentation against the code, and run what it shows
	$(BIN)/python -m pytest tests/test_docs.py tests/docs tests/command/test_documentation.py $(ARGS)

install: $(DEV_READY) ## install everything a developer needs

clean: ## remove the environments and everything that was built
	rm -rf $(VENV) $(PEERS) .matrix build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis .fuzz sample_project/db.sqlite3*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Dependency groups are understood by pip since 25.1.
$(VENV)/.ready $(PEERS)/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/$(PIP) install --quiet --upgrade "pip>=25.1"
	@touch $@

$(DEMO_READY): GROUP := demo
$(TEST_READY): GROUP := test
$(DEV_READY): GROUP := dev
$(FUZZ_READY): GROUP := fuzz
$(DOCS_READY): GROUP := docs
$(PEERS_READY): GROUP := peers
$(DEMO_READY) $(TEST_READY) $(DEV_READY) $(FUZZ_READY) $(DOCS_READY): pyproject.toml | $(VENV)/.ready
$(PEERS_READY): pyproject.toml | $(PEERS)/.ready
$(DEMO_READY) $(TEST_READY) $(DEV_READY) $(FUZZ_READY) $(DOCS_READY) $(PEERS_READY):
	$(@D)/bin/$(PIP) install --quiet --editable . --group $(GROUP)
	@touch $@
