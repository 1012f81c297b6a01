# Everything a person or CI runs. Each target sets up what it needs in .venv and is quick the second time.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(shell sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.lock)

# The project's own settings for Prefect and the rest: nothing phones home, nothing starts by accident.
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export PREFECT_SERVER_ALLOW_EPHEMERAL_MODE = false

.PHONY: setup demo test test-all check format lint types imports docs bench faults lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("flashvault needs Python 3.11 to 3.13, this is " + sys.version) if not (3, 11) <= sys.version_info[:2] <= (3, 13) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check $(UV)
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip sync -q --compile-bytecode requirements.lock
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install -q --no-deps -e .
	@touch $@

demo: setup
	@$(BIN)/flashvault demo

test: setup
	$(BIN)/python -m pytest -q -m "not server and not slow and not root"

# The quick tests on every Python we support; one that is not installed is named, and fails the target.
PYTHONS ?= 3.11 3.12 3.13
.PHONY: test-pythons
test-pythons:
	@missing=; failed=; for version in $(PYTHONS); do \
	  python=; \
	  for found in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python$$version; do \
	    if [ -z "$$python" ] && "$$found" -c 'import ensurepip' 2>/dev/null; then python=$$found; fi; \
	  done; \
	  if [ -z "$$python" ]; then missing="$$missing $$version"; continue; fi; \
	  echo "=== Python $$version: $$python"; \
	  $(MAKE) --no-print-directory test VENV=.venv-$$version PYTHON="$$python" || failed="$$failed $$version"; \
	done; \
	if [ -n "$$missing" ]; then echo "not installed, not tested:$$missing"; fi; \
	if [ -n "$$failed" ]; then echo "failed:$$failed"; fi; \
	[ -z "$$missing$$failed" ]

# The quick tests and the demo on the oldest and the newest Prefect that pyproject.toml allows, each with
# whatever else an installation without the lock gets today.
PREFECTS ?= 3.8.8 3.9.1
.PHONY: test-prefects
test-prefects: setup
	@failed=; for version in $(PREFECTS); do \
	  echo "=== Prefect $$version"; \
	  venv=$(abspath .venv-prefect-$$version); \
	  { test -x $$venv/bin/python || $(PYTHON) -m venv $$venv; } \
	  && VIRTUAL_ENV=$$venv $(BIN)/uv pip install -q -e '.[dev]' "prefect==$$version" \
	  && $$venv/bin/python -m pytest -q -m "not server and not slow and not root" \
	  && $$venv/bin/flashvault demo \
	  || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed with Prefect:$$failed"; fi; \
	[ -z "$$failed" ]

# Everything there is: the checks, the quick tests on every Python, and what needs servers, root or time;
# an hour and more. Best as root.
test-all: check test-pythons test-heavy

.PHONY: test-heavy
test-heavy: setup
	$(BIN)/python -m pytest -q -m "server or slow or root"

# A cluster on this machine, as root: PostgreSQL, Redis, a server, workers of two hosts; one is killed.
# apt install postgresql redis-server
GROUPS ?= 20
.PHONY: cluster-test
cluster-test: setup
	CLUSTER_GROUPS=$(GROUPS) $(BIN)/python -m pytest -q -s tests/e2e/test_cluster.py

# What a large site costs: 300 groups of 4 small volumes, as root, about a quarter of an hour.
.PHONY: scale-test
scale-test: setup
	@$(BIN)/python tests/bench/scale.py

# Prefect's UI in a real browser, and its pictures for the documentation;
# apt install chromium chromium-driver fonts-noto-color-emoji
.PHONY: screenshots
screenshots: setup
	SCREENSHOTS=docs/images/ui $(BIN)/python -m pytest -q tests/e2e/test_ui.py

# The fault simulator: N schedules from SEED on; a failing seed replays with N=1.
N ?= 20000
SEED ?= 1
# Measured beside its peers; they come from Debian: apt install restic awscli zstd hyperfine.
bench: setup
	@$(BIN)/python tests/bench/run.py

faults: setup
	@$(BIN)/python tests/faults/run.py --count $(N) --seed $(SEED)

# A real database loses both its disks, as root; needs apt install postgresql postgresql-contrib btrfs-progs.
.PHONY: drill-postgres
drill-postgres: setup
	@$(BIN)/python -m pytest -q -rs tests/e2e/test_postgres.py

check: format lint types imports docs-check

format: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports --no-cache

.PHONY: docs-check
docs-check: setup
	$(BIN)/python -m pytest -q tests/architecture -m "not server and not slow and not root"

# The reference pages made from help texts, errors and docstrings.
.PHONY: docs-generate
docs-generate: setup
	@$(BIN)/python tests/architecture/generated.py

docs: setup
	$(BIN)/mkdocs build --strict

lock:
	@test -x $(BIN)/uv || ($(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q uv)
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist build site
