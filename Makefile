# `make run` and `make test` need Python 3.11, Java 17 and make, and install the rest below .venv.
.DEFAULT_GOAL := help
.PHONY: help run test check checkov env lock clean preflight

PYTHON ?= python3.11
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
READY := $(wildcard $(STAMP))
comma := ,
space := $(subst ,, )

# uv does not read pip's settings, so a mirror set for pip is passed on. torch is locked as the CPU build, which the
# public index does not hold: a mirror's folder gives it, or else uv takes the same file (same hash) from torch's own index.
LINKS := $(or $(UV_FIND_LINKS),$(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS))))
INDEX := $(or $(UV_DEFAULT_INDEX),$(PIP_INDEX_URL))
UV := $(if $(LINKS),UV_FIND_LINKS="$(LINKS)" )$(if $(INDEX),UV_DEFAULT_INDEX="$(INDEX)" )$(BIN)/uv
TORCH := $(if $(LINKS),,--torch-backend cpu)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(STAMP) ## run the whole loop on real data; the stack stays up (stop it with .venv/bin/aiops down)
	@$(BIN)/aiops run

test: $(STAMP) ## run the tests, two at a time; JOBS=1: one at a time; ARGS="-k name" chooses some
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadscope $(ARGS)

check: $(STAMP) ## lint, format, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

checkov: $(STAMP) ## install the policy engine that confirms predicted violations, in its own environment .checkov
	@$(UV) venv -q --clear --python $(BIN)/python .checkov
	@$(UV) pip install -q --python .checkov/bin/python checkov==3.3.30

env: $(STAMP) ## make the environment from requirements.lock

lock: $(STAMP) ## resolve the dependencies of pyproject.toml anew into requirements.lock
	@$(UV) pip compile -q $(TORCH) --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 --all-extras pyproject.toml -o requirements.lock

clean: ## stop the stack; remove the environment, the caches and all data and models below .aiops
	@if [ -x $(BIN)/aiops ]; then $(BIN)/aiops down; fi
	@rm -rf $(VENV) .checkov .aiops .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

preflight:
	@$(PYTHON) -c '' 2>/dev/null || { \
		echo "There is no working $(PYTHON); install Python 3.11 (Debian and Ubuntu: apt-get install python3.11-venv)," \
		"or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)." >&2; exit 1; }
	@$(PYTHON) -I infra/preflight.py $(if $(READY),--installed) $(filter run,$(MAKECMDGOALS))

$(STAMP): requirements.lock pyproject.toml | preflight
	@[ -x $(BIN)/python ] || { echo "Making the environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@# uv itself, with the lock's version and hashes, by pip
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt
	@[ -x $(BIN)/uv ] || $(BIN)/python -m pip install -q --retries 1 --disable-pip-version-check --no-deps \
		--require-hashes -r $(VENV)/uv.txt >$(VENV)/pip.log 2>&1 || { \
		echo "The packages cannot be had: neither the package index nor a mirror answers; connect this machine, or set" \
		"PIP_INDEX_URL or PIP_FIND_LINKS to a mirror (pip's words are in $(VENV)/pip.log)." >&2; exit 1; }
	@$(UV) pip sync --python $(BIN)/python --require-hashes --compile-bytecode $(TORCH) requirements.lock || { \
		echo "The packages of requirements.lock could not all be installed (uv's words are above); connect this machine," \
		"or set PIP_INDEX_URL and PIP_FIND_LINKS to a mirror that holds them, torch's CPU build included." >&2; exit 1; }
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
