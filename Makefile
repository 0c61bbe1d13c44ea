# Everything a person does with this repository. Every target sets up what it needs; the second call is instant.

BIN := .venv/bin
# Copies of the locks that .venv was brought to: what a demo needs, and what tests and tools need besides.
READY := .venv/.ready
TOOLS := .venv/.tools
DEMO_FLAGS := $(if $(filter 1 yes true,$(ONCE)),--once)
PEER_FLAG := $(if $(filter 1 yes true,$(PEER)),--peer)
BASE_FLAG := $(if $(BASE),--base $(BASE))
PLUGIN_LIB := $(wildcard plugin_stub/lib/python)
TEST_PROGRAMS := postgresql pgbouncer iproute2 wrk nginx systemd openssl promtool php chromium zbar calc npm
SECONDS ?= 60
# Where this is set, every worker of the tests and every program they start would compile the bridge anew.
unexport PYTHONDONTWRITEBYTECODE

# axe-core from npm, pinned in tests/browser/package-lock.json; instant when it is there.
AXE := test tests/browser/node_modules/.package-lock.json -nt tests/browser/package-lock.json || \
	npm ci --prefix tests/browser --silent --no-audit --no-fund

.DEFAULT_GOAL := help
.PHONY: help setup lock demo run test later lightning gallery lighthouse lint fmt types bench soak drill fuzz supply clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 19

setup: $(TOOLS) ## create .venv as locked, for all that follows; PYTHON=python3.12 chooses another Python

$(READY): deploy/requirements.lock setup.cfg pyproject.toml
	@sh scripts/make_venv.sh "$(PYTHON)"
	@sh scripts/install_locked.sh $@ $<
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@cp $< $@

$(TOOLS): $(READY) deploy/otel.lock locks/dev.lock
	@sh scripts/install_locked.sh $@ $(filter %.lock,$^)
	@cat $(filter %.lock,$^) >$@

# One tool for one target: .venv/.fuzz, .venv/.resolver.
.venv/.%: locks/%.lock $(TOOLS)
	@sh scripts/install_locked.sh $@ $<
	@cp $< $@

lock: .venv/.resolver ## write all locks anew from the pins of setup.cfg, and print what changed
	@$(BIN)/python deploy/make_locks.py

demo: $(READY) ## the whole job on this machine, no accounts needed; ONCE=1 walks it once and ends
	@$(BIN)/subtc-bridge demo $(DEMO_FLAGS)

run: $(READY) ## migrate, then serve and work with config.yaml
	@bash scripts/run.sh config.yaml

test: setup ## all tests, on SQLite and PostgreSQL; ARGS="-k word" narrows them
	@sh scripts/install_debian.sh $(TEST_PROGRAMS)
	@$(AXE)
	$(BIN)/pytest -q -n 3 --dist worksteal $(ARGS)

later: setup ## what knows dates, with the clock 400 days ahead: the tests that tests/later/paths names
	@sh scripts/install_debian.sh postgresql nginx openssl php faketime
	@sh scripts/test_later.sh $(BIN)/pytest -q -n 3 --dist worksteal $(ARGS)

# What each of these is installed into is its own; a machine that cannot have one says why and skips what is asked of it.
lightning: setup ## what the rails of Lightning rest on, asked of the real programs; ARGS="-k word" narrows it
	$(BIN)/pytest -q -n 0 -m lightning tests/lightning $(ARGS)

gallery: setup ## every page of the payer as pictures in build/gallery; ARGS="--only settled" narrows it
	@sh scripts/install_debian.sh chromium
	$(BIN)/python -m tests.browser.gallery $(ARGS)

# Its scores fall with the load of the machine, so no test asks for them.
lighthouse: setup ## what Lighthouse says of pay page, receipt, Today and the list, on a phone and a screen: each score at least 95
	@sh scripts/install_debian.sh chromium npm
	npm ci --prefix tests/browser/lighthouse --ignore-scripts --silent --no-audit --no-fund
	$(BIN)/python -m tests.browser.lighthouse

fuzz: setup ## throw bytes at everything that parses a stranger's, guided by coverage; SECONDS=60
	@$(MAKE) --no-print-directory .venv/.fuzz || echo "atheris does not install here"
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
	$(BIN)/mypy --strict bridge sandbox bench
	$(if $(PLUGIN_LIB),$(BIN)/mypy --strict $(PLUGIN_LIB))

fmt: setup ## format the code and sort the imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure against yardsticks of the same run; ARGS="--only routes" narrows it, PEER=1 adds LNbits, BASE=folder compares with another checkout
	@sh scripts/install_debian.sh postgresql wrk
	$(BIN)/python -m bench $(PEER_FLAG) $(BASE_FLAG) $(ARGS)

soak: setup ## random payments, faults and restarts for MINUTES=2, then nothing may be lost or done twice
	@sh scripts/install_debian.sh postgresql
	$(BIN)/python -m bench.soak --minutes $(or $(MINUTES),2) $(ARGS)

drill: setup ## the operator guide's commands on an empty Debian 12 with its own systemd, up to a paid order; needs root
	@bash scripts/install_drill.sh $(BIN)/python

clean: ## remove the environment and caches; keeps config.yaml and var/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
