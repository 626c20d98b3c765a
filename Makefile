# Every chore has one entry here; CI and pre-commit run nothing else.

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
BIN := .venv/bin
SOURCES := $(wildcard metta tests examples benchmarks)

.PHONY: setup check test test-cluster soak bench docs demo clean

setup: .venv/.dev

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo

# Most tests wait for servers and processes, so several run at a time: those of a file in their order.
test: setup
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-cluster:
	@echo "No cluster tests yet: they come with the Kubernetes, SLURM and Docker executors."

# Tests of how much a worker takes at once have no time to replay everything at each step.
CROWDS = (many_may_ask or crowds or limits)

soak: setup
	METTA_SWEEP_TEST_TURNS=100000 METTA_SWEEP_TEST_JOBS=5000 \
	    METTA_SWEEP_TEST_KILLS=100 $(BIN)/pytest tests/workflows/test_experiment_limits.py \
	    tests/workflows/test_job_limits.py tests/crash/test_job_kills.py \
	    tests/crash/test_curriculum_kills.py tests/crash/test_hybrid_kills.py tests/crash/test_budget_kills.py $(ARGS)
	METTA_SWEEP_TEST_KILLS=200 $(BIN)/pytest tests/crash/test_soak.py $(ARGS)
	METTA_SWEEP_TEST_CACHE=0 $(BIN)/pytest tests/workflows -k "not $(CROWDS)" $(ARGS)
	METTA_SWEEP_TEST_EXAMPLES=all $(BIN)/pytest tests/docs/test_examples.py $(ARGS)

bench: $(if $(PEERS),.venv-peers/.peers,.venv/.runtime)
	$(<D)/bin/python -m benchmarks $(ARGS)

docs: setup
	$(BIN)/pytest tests/docs $(ARGS)

demo: .venv/.runtime
	$(BIN)/sweep run examples/digits_asha.py

clean:
	rm -rf .venv .venv-peers dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment: what a sweep needs (.runtime), and on top of it the tools (.dev). The peers that
# `make bench PEERS=1` measures beside it have another one (.peers), for they bring much with them.

%/.runtime: requirements/runtime.txt pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "$(PYTHON) is older than 3.11 or lacks venv and ensurepip (Debian: apt install python3-venv)." \
	        "Another one: make setup PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement requirements/runtime.txt
	$(@D)/bin/pip install --quiet --no-deps --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.runtime
	$(BIN)/pip install --quiet --requirement requirements/dev.txt
	@touch $@

.venv-peers/.peers: benchmarks/requirements.txt .venv-peers/.runtime
	$(@D)/bin/pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@
