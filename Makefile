# Everything a person does with this repository. Every target sets up what it needs; the second call is instant.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
DEMO_FLAGS := $(if $(filter 1 yes true,$(ONCE)),--once)
PEER_FLAG := $(if $(filter 1 yes true,$(PEER)),--peer)
PLUGIN_LIB := $(wildcard plugin_stub/lib/python)
TEST_PROGRAMS := postgresql nginx systemd openssl promtool php chromium zbar npm
SECONDS ?= 60

# axe-core from npm, pinned in tests/browser/package-lock.json; instant when it is there.
AXE := test tests/browser/node_modules/.package-lock.json -nt tests/browser/package-lock.json || \
	npm ci --prefix tests/browser --silent --no-audit --no-fund

.DEFAULT_GOAL := help
.PHONY: help setup demo run test gallery lint fmt types bench soak drill fuzz supply clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(READY) ## create .venv with everything pinned in setup.cfg

$(READY): setup.cfg pyproject.toml
	@sh scripts/make_venv.sh "$(PYTHON)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,dev,otel]'
	@touch $@

demo: setup ## the whole job on this machine, no accounts needed; ONCE=1 walks it once and ends
	@$(BIN)/subtc-bridge demo $(DEMO_FLAGS)

run: setup ## migrate, then serve and work with config.yaml
	@bash scripts/run.sh config.yaml

test: setup ## all tests, on SQLite and PostgreSQL; ARGS="-k word" narrows them
	@sh scripts/install_debian.sh $(TEST_PROGRAMS)
	@$(AXE)
	$(BIN)/pytest -q -n 3 --dist worksteal $(ARGS)

gallery: setup ## every page of the payer as pictures in build/gallery; ARGS="--only settled" narrows it
	@sh scripts/install_debian.sh chromium
	$(BIN)/python -m tests.browser.gallery $(ARGS)

fuzz: setup ## throw bytes at everything that parses a stranger's, guided by coverage; SECONDS=60
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
		$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]' || echo "atheris does not install here"
	$(BIN)/python -m tests.fuzz $(SECONDS) $(ARGS)

# Exit code 3: the advisory service could not be asked, and it said so; that alone must not stop anybody.
supply: setup ## bill of materials in build/sbom.cdx.json, and known faults of the locked libraries
	$(BIN)/python deploy/make_sbom.py build/sbom.cdx.json
	$(BIN)/python deploy/audit.py || [ $$? -eq 3 ]

lint: setup ## style and types, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory types

types: setup ## mypy --strict
	$(BIN)/mypy --strict bridge
	$(if $(PLUGIN_LIB),$(BIN)/mypy --strict $(PLUGIN_LIB))

fmt: setup ## format the code and sort the imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure against yardsticks of the same run; ARGS="--only routes" narrows it, PEER=1 adds LNbits
	@sh scripts/install_debian.sh postgresql wrk
	$(BIN)/python -m bench $(PEER_FLAG) $(ARGS)

soak: setup ## random payments, faults and restarts for MINUTES=2, then nothing may be lost or done twice
	@sh scripts/install_debian.sh postgresql
	$(BIN)/python -m bench.soak --minutes $(or $(MINUTES),2) $(ARGS)

drill: setup ## the operator guide's commands on an empty Debian 12 with its own systemd, up to a paid order; needs root
	@bash scripts/install_drill.sh $(BIN)/python

clean: ## remove the environment and caches; keeps config.yaml and var/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
