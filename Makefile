# Each target does all of its own set-up: Python 3.11 with pip is all it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV_VERSION := 0.13.8

.PHONY: run test test-oldest check fix bench lock clean

run: .venv/runtime
	$(BIN)/doppia serve

test: .venv/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/dev
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/mypy src/doppia scripts benchmarks tests
	$(BIN)/lint-imports
	$(BIN)/python scripts/lint_migrations.py
	$(BIN)/coverage run -m pytest -q tests/accounting tests/proof
	$(BIN)/coverage report
	$(MAKE) test
	$(MAKE) test-oldest

# The same tests on the oldest PostgreSQL we support, where the machine has it or can get it.
test-oldest: .venv/dev
	@programs=$$(scripts/system_postgres.sh); \
	if [ -n "$$programs" ]; then \
	    echo "On PostgreSQL 15:"; DOPPIA_TEST_POSTGRES=$$programs $(BIN)/python -m pytest -q -n 2 --dist loadfile tests/store tests/engine tests/api tests/cli tests/client tests/stories; \
	else \
	    echo "No PostgreSQL 15 on this machine: the tests ran on the embedded one alone."; \
	fi

fix: .venv/dev
	$(BIN)/ruff check --fix src tests benchmarks scripts
	$(BIN)/ruff format src tests benchmarks scripts

# PGLEDGER_URL names a database in which pgledger is installed, to compare with.
bench: .venv/dev
	$(BIN)/python benchmarks $(if $(PGLEDGER_URL),--pgledger-url "$(PGLEDGER_URL)")

# What is installed is what the lock names, by hash; the stamps say which lock that was.
.venv/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	touch $@

.venv/runtime: .venv/uv requirements/runtime.txt pyproject.toml
	test -e .venv/dev || $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/runtime.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

.venv/dev: .venv/uv requirements/dev.txt pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

lock: .venv/uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --extra embedded pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --extra embedded --group dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
