# Everything starts here. `make help` lists the targets; each of them prepares .venv first if that is needed.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.stamp
BIN := $(VENV)/bin
# Used in this order when $(PYTHON) is missing or too old.
FALLBACKS := python3.13 python3.12 python3.11 python3.14
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
# Extra words for the tools: `make test ARGS="-k journal"`, `make bench ARGS=writer`, `make lock ARGS=--upgrade`.
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: setup demo test check bench soak site clean lock help FORCE

help: ## list the targets
	@echo "Daedalus: make TARGET [ARGS=...]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
	  | while IFS='|' read -r name text; do printf '  %-7s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## create .venv and install everything, pinned and checked by hash
	@echo "setup: $(VENV) is ready"

demo: $(STAMP) ## record a local market, compute features and bars, draw pictures (data/demo/)
	@$(BIN)/daedalus demo $(ARGS)

# Bytecode is written, for the suite starts hundreds of processes that read it.
test: $(STAMP) ## run the test suite
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP) ## formatting, lint, types, import rules, docs in step with the code
	@echo "check: ruff format" && $(BIN)/ruff format --check .
	@echo "check: ruff" && $(BIN)/ruff check .
	@echo "check: mypy" && $(BIN)/mypy
	@echo "check: lint-imports" && $(BIN)/lint-imports --no-logo
	@echo "check: docs" && $(BIN)/python -m pytest tests/docs -q

bench: $(STAMP) ## run the benchmarks, or those named in ARGS
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP) ## run the long tests
	@$(BIN)/python -m pytest -m soak --timeout 0 $(ARGS) || { [ $$? -eq 5 ] && echo "soak: there are no such tests"; }

site: $(STAMP) ## build the guides and the API reference as web pages (site/)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "site: open site/index.html (its search wants a server: $(BIN)/python -m http.server --directory site)"

lock: $(STAMP) ## write constraints.txt anew from pyproject.toml (ARGS=--upgrade for newer versions)
	@BIN=$(BIN) sh scripts/lock.sh $(ARGS)

clean: ## remove .venv, caches, temp/, data/demo/, site/ and build output; recordings stay
	@echo "clean: removing .venv, caches, temp/, data/demo/, site/ and build output (anything else in data/ stays)"
	@rm -rf $(VENV) temp data/demo site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis src/*.egg-info
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The stamp is written last and holds the folder that .venv was made for. So an interrupted set-up and a checkout that
# was moved or copied are made anew, while changed dependencies are installed into the .venv that is there.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): FORCE
endif

$(STAMP): pyproject.toml constraints.txt
	@if [ "$$(cat $(STAMP) 2>/dev/null)" != "$(CURDIR)" ]; then \
	  py=$$(sh scripts/find_python.sh $(PYTHON) $(FALLBACKS)) || exit 1; \
	  echo "setup: creating $(VENV) with $$py ($$($$py -V))"; \
	  "$$py" -m venv --clear $(VENV) || { \
	    echo "setup: $$py could not create $(VENV). On Debian, Ubuntu and Raspberry Pi OS: sudo apt install python3-venv" >&2; \
	    rm -rf $(VENV); exit 1; }; \
	fi
	@rm -f $(STAMP)
	@echo "setup: installing the pinned dependencies of constraints.txt (the first time: a minute or two)"
	@$(PIP) install --require-hashes --only-binary :all: -r constraints.txt
	@echo "setup: installing daedalus from this folder, editable"
	@$(PIP) install --no-deps --no-build-isolation -e .
	@echo "$(CURDIR)" > $(STAMP)
