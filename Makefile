# Everything that is made here lies in .venv, .venv-bench and target; removing them undoes it all.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
WHEELS := target/wheels

# Rust that the tests and the checks build. The extension module is built by maturin alone; its
# environment would have PyO3 built anew after each clippy, which therefore has a place of its own.
CRATES := --workspace --exclude flowrs-python --locked
EVERYTHING := --workspace --all-targets --features flowrs-python/stubs --locked

export CARGO_TARGET_DIR := $(CURDIR)/target
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
# What is tested is the installed wheel, whatever the caller's shell would import.
unexport PYTHONPATH PYTHONHOME

# Real MNIST and the traces of training runs, where they lie beside the repository.
FLOWRS_DATA_DIR ?= $(abspath $(wildcard ../shared/data/mnist))
FLOWRS_GOLDEN_DIR ?= $(abspath $(wildcard ../shared/golden))
ifneq ($(FLOWRS_DATA_DIR),)
export FLOWRS_DATA_DIR
endif
ifneq ($(FLOWRS_GOLDEN_DIR),)
export FLOWRS_GOLDEN_DIR
endif

say = @printf '\n\033[1m%s\033[0m\n' "$(1)"

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## Build flowrs, train a network with it, save it, open it again, extend it
	$(call say,flowrs demo)
	@rm -rf target/demo
	@$(BIN)/flowrs demo --output target/demo

.PHONY: test
test: install $(BIN)/.dev ## Run every test: Rust, the examples in its documentation, Python
	$(call say,Rust tests)
	@if cargo nextest --version >/dev/null 2>&1; then \
	    cargo nextest run $(CRATES); \
	else \
	    cargo test $(CRATES) --all-targets; \
	fi
	$(call say,Rust documentation examples)
	@cargo test $(CRATES) --doc
	$(call say,Python tests)
	@FLOWRS_WHEEL="$$(echo $(WHEELS)/*.whl)" $(BIN)/python -m pytest

.PHONY: lint lint-rust lint-python lint-stubs lint-house
lint: lint-rust lint-python lint-stubs lint-house ## Check format, style, types, stubs and the house rules; changes nothing

lint-rust: | $(BIN)/python
	$(call say,rustfmt and clippy)
	@cargo fmt --all --check
	@cargo clippy $(EVERYTHING) --target-dir target/clippy -- -D warnings

lint-python: $(BIN)/.dev
	$(call say,ruff and mypy)
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check
	@$(BIN)/mypy

lint-stubs: $(BIN)/.dev
	$(call say,stubs)
	@$(BIN)/python tools/stubs.py --check

lint-house: $(BIN)/.dev
	$(call say,house rules)
	@$(BIN)/python tools/house.py

.PHONY: format
format: $(BIN)/.dev ## Bring all code into the form that lint wants
	@cargo fmt --all
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

.PHONY: stubs
stubs: $(BIN)/.dev ## Make python/flowrs/_flowrs.pyi anew from the extension module
	@$(BIN)/python tools/stubs.py

.PHONY: bench
bench: .venv-bench/.wheel ## Measure flowrs and its peers for half an hour, and write the report
	@.venv-bench/bin/python benches/run.py --write

.PHONY: bench-choices
bench-choices: .venv-bench/.wheel ## Measure whether convolutions get their fastest algorithm
	@.venv-bench/bin/python benches/choices.py

.PHONY: bench-side-by-side
bench-side-by-side: .venv-bench/.wheel ## Measure what it saves to run small steps side by side
	@.venv-bench/bin/python benches/side_by_side.py

.PHONY: bench-checkpoints
bench-checkpoints: .venv-bench/.wheel ## Measure saving and opening of checkpoints, and write the report
	@.venv-bench/bin/python benches/checkpoints.py --write

.PHONY: bench-check
bench-check: .venv-bench/.wheel
	@.venv-bench/bin/python benches/run.py --check

.PHONY: all
all: lint test bench-check ## Everything that must hold: lint, test, and the results of the benches

.PHONY: size
size: $(BIN)/python ## Count the lines of code of each crate and module
	@$(BIN)/python tools/size.py

# Internal: the environments, the wheel, and its installation.

.PHONY: install
install: $(WHEELS)/.built
	@$(BIN)/pip uninstall --yes -qq flowrs
	@$(BIN)/pip install --quiet $(WHEELS)/*.whl

$(BIN)/python:
	@python=$$(tools/find_python) && echo "making .venv with $$($$python --version)" && \
	    $$python -m venv .venv

$(BIN)/.maturin: requirements-dev.txt | $(BIN)/python
	@echo "installing maturin into .venv"
	@$(BIN)/pip install --quiet --constraint requirements-dev.txt maturin
	@touch $@

$(BIN)/.dev: requirements-dev.txt $(BIN)/.maturin
	@echo "installing the tools of requirements-dev.txt into .venv"
	@$(BIN)/pip install --quiet --requirement requirements-dev.txt numpy
	@touch $@

WHEEL_SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md LICENSE NOTICE \
    $(shell find python rust/*/Cargo.toml rust/*/src -type f ! -name '*.so' ! -name '*.py[co]')

$(WHEELS)/.built: $(WHEEL_SOURCES) | $(BIN)/.maturin
	@command -v cargo >/dev/null || { \
	    echo "cargo is not there: flowrs is built with Rust 1.89 or newer, see https://rustup.rs"; \
	    exit 1; } >&2
	$(call say,building the wheel: about two minutes the first time)
	@rm -f $(WHEELS)/*.whl
	@$(BIN)/maturin build --release --interpreter $(BIN)/python --out $(WHEELS)
	@touch $@

.venv-bench/bin/python:
	@python=$$(tools/find_python) && $$python -m venv .venv-bench

.venv-bench/.peers: benches/requirements.txt | .venv-bench/bin/python
	@echo "installing the peers of benches/requirements.txt into .venv-bench"
	@.venv-bench/bin/pip install --quiet --requirement benches/requirements.txt
	@touch $@

.venv-bench/.wheel: $(WHEELS)/.built .venv-bench/.peers
	@.venv-bench/bin/pip uninstall --yes -qq flowrs
	@.venv-bench/bin/pip install --quiet $(WHEELS)/*.whl
	@touch $@
