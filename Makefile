# Everything a person does here. `make` alone lists it. The environment in .venv is built when it is needed, from the exact versions and
# hashes in constraints-dev.txt, and again only when those or pyproject.toml change.

CONFIG ?= config.yaml
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV_HOME := build/uv
PIP := $(BIN)/python -m pip --disable-pip-version-check

PARTS := interceptor/wire/* interceptor/policy/* interceptor/gateway/* \
	interceptor/pipeline.py,interceptor/copies.py,interceptor/failure_table.py,interceptor/app_addresses.py
COMMA := ,
CORE := $(subst $(eval) ,$(COMMA),$(strip $(PARTS)))
MEASURED := $(addprefix --cov=,interceptor.wire interceptor.policy interceptor.gateway interceptor.pipeline interceptor.copies \
	interceptor.failure_table interceptor.app_addresses)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env venv demo run test check bench bench-quick bench-profile bench-peers fuzz fuzz-guided cover lock package clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

env: $(STAMP) ## build .venv from the constraints

# A candidate counts when it runs, is new enough and can make environments: a version manager's shim may exist and do none of it.
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))

$(STAMP): constraints-dev.txt pyproject.toml
	@$(MAKE) --no-print-directory venv
	$(PIP) install -q --require-hashes -r constraints-dev.txt
	$(PIP) install -q --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q interceptor bench fuzz
	@touch $@

venv:
	@set -e; \
	if ! $(BIN)/python -c '$(USABLE)' 2>/dev/null || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    found=; \
	    for candidate in $(PYTHON) python3.12 python3.13 python3 python3.14 python; do \
	        if "$$candidate" -c '$(USABLE)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	    done; \
	    if [ -n "$$found" ]; then \
	        echo "make env: $$($$found --version), found as $$found"; \
	        "$$found" -m venv --clear $(VENV); \
	    else \
	        uv=; \
	        if uv --version >/dev/null 2>&1; then uv=uv; \
	        elif python3 -m venv --clear $(UV_HOME) >/dev/null 2>&1 \
	            && $(UV_HOME)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r constraints-uv.txt; \
	        then uv=$(UV_HOME)/bin/uv; fi; \
	        if [ -z "$$uv" ] || ! "$$uv" venv -q --clear --seed --python 3.12 $(VENV); then \
	            echo "make env: no Python 3.12 or newer was found and none could be installed: install one, or name it as in 'make env PYTHON=/path/to/python3.12'" >&2; \
	            exit 1; \
	        fi; \
	    fi; \
	fi

demo: $(STAMP) ## a PBX, two apps and Interceptor, live in this terminal
	@$(BIN)/interceptor demo

run: $(STAMP) ## serve: make run CONFIG=config.yaml
	@$(BIN)/interceptor run --config "$(CONFIG)"

# Tests start hundreds of processes of ours: their bytecode is kept, whatever the surroundings say. And they give way as far as the
# examination of a policy does, which would wait for the other tests to end where these have the cores at ordinary priority.
test: $(STAMP) ## all tests, with branch coverage; each part of the core has to have 95 %
	@rm -f .coverage .coverage.*
	PYTHONDONTWRITEBYTECODE= nice -n 19 $(BIN)/python -m pytest $(MEASURED) --cov-report= -n auto --dist worksteal
	@echo; echo "Branch coverage of the core:"
	@$(BIN)/coverage report --include='$(CORE)' --skip-covered
	@set -f; for part in $(PARTS); do \
		covered=$$($(BIN)/coverage report --include="$$part" --fail-under=95 --format=total) || \
			{ echo "$$part: $$covered % of it is covered, 95 are wanted"; exit 1; }; \
	done

check: $(STAMP) ## format, lint, types, import contracts, shipped rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/interceptor check config.example.yaml --no-secrets --strict
	$(BIN)/interceptor check rules --config config.example.yaml --strict
	$(BIN)/interceptor test rules --config config.example.yaml --fail-under 100

cover: MEASURED := --cov
cover: test ## all tests, and the coverage of everything
	$(BIN)/coverage report

fuzz: $(STAMP) ## a million inputs over wire and gateway (minutes)
	$(BIN)/python -m fuzz --inputs 1000000 --seconds 3600
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -m fuzz --timeout=0 -q

fuzz-guided: $(STAMP) ## another million, led by the code that they reach; installs atheris
	$(BIN)/python -m pip install -q --require-hashes -r constraints-fuzz.txt
	$(BIN)/python -m fuzz --guided --inputs 1000000 --seconds 3600

bench: $(STAMP) ## measure side by side, write docs/benchmarks.md
	$(BIN)/python -m bench

bench-quick: $(STAMP) ## the same in two minutes, printed only
	$(BIN)/python -m bench run --quick

bench-profile: $(STAMP) ## where the time of an exchange goes, under load
	$(BIN)/python -m bench profile

bench-peers: $(STAMP) ## install the proxies to compare with, as far as this machine allows
	$(BIN)/python -m bench.peers

package: $(STAMP) ## wheel and source archive in dist/
	$(BIN)/python -m build --no-isolation --outdir dist

# The lock is made for Python 3.12 and newer on every system. First all groups together, then the smaller sets out of the same versions. It
# names extras, or pip takes the newest version for one (`coverage[toml]`) and, having no hash for it, refuses the whole file.
LOCK = $(UV_HOME)/bin/uv pip compile -q --universal --generate-hashes --python-version 3.12 --no-annotate --no-strip-extras \
    --custom-compile-command "make lock$(if $(UPGRADE), UPGRADE=1)" $(if $(UPGRADE),--upgrade)

lock: $(STAMP) ## write the constraints files anew (UPGRADE=1: with the newest versions)
	$(BIN)/python -m venv --clear $(UV_HOME)
	$(UV_HOME)/bin/python -m pip install -q --require-hashes -r constraints-uv.txt
	$(LOCK) pyproject.toml --group dev -o constraints-dev.txt
	$(LOCK) pyproject.toml -c constraints-dev.txt -o constraints.txt
	$(LOCK) --group build -c constraints-dev.txt -o constraints-build.txt
	$(LOCK) --group fuzz -o constraints-fuzz.txt
	echo uv | $(LOCK) - -o constraints-uv.txt

clean: ## remove what was built; keeps state/
	rm -rf $(VENV) build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
