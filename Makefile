# `make` or `make help` lists the targets.
PYTHON ?= python3
EXTRAS ?= dev
BIN := .venv/bin
comma := ,

.DEFAULT_GOAL := help
.PHONY: help run test check format bench screenshots constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv ## set up and serve the demo cascade until Ctrl-C
	$(BIN)/greenflow up $(ARGS)

test: .venv ## set up and run the tests (EXTRAS=dev,train adds those that need PyTorch)
	$(BIN)/python -m pytest $(ARGS)

check: ## format, lint, types, layers; installs PyTorch too, for the types of what trains
	@$(MAKE) --no-print-directory .venv EXTRAS=dev,train
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv ## format the code and sort its imports
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

bench: .venv ## measure serving against its peers and prices against exact bounds; tables, and out/*.json
	mkdir -p out
	$(BIN)/python tests/bench/serving.py --json out/serving.json $(ARGS)
	$(BIN)/python tests/bench/price.py --json out/price.json

screenshots: .venv ## pictures of the live page in every state, out/screenshots/*.png (needs Chromium)
	$(BIN)/python tests/support/screenshots.py out/screenshots $(ARGS)

# The stamp carries the extras, so that asking for others installs them.
.venv: .venv/installed-$(subst $(comma),-,$(EXTRAS)) ## make the virtual environment and install

.venv/installed-%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

constraints: .venv ## pin what is installed now
	$(BIN)/pip freeze --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//' > constraints.txt

clean: ## remove what the targets above made; what commands have written into out/ stays
	rm -rf .venv out/serving.json out/price.json out/screenshots build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
