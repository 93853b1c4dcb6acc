# tinyedge: plain text to a language model that answers on a small board. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
BUNDLE ?= bundle
CORPUS ?=
TRAIN_FLAGS ?=
TWIN_FLAGS ?=
PEERS_FLAGS ?=
INTEROP_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help env demo twin scale bench-peers soak test test-interop test-deploy check format clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 18

env: $(VENV)/ready ## Make the environment in .venv, with uv where it is there, else with venv and pip

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is missing or older than 3.11; pass another: make PYTHON=python3.11" >&2; exit 1; }
	@echo "making the environment in $(VENV): downloads torch, takes a few minutes"
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) || { \
	    echo "error: python cannot make an environment; on Debian: apt install python3-venv" >&2; exit 1; }; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $@

demo: env ## Text to a bundle with a verdict: all steps, then a summary; CORPUS=path takes yours, TRAIN_FLAGS="..." go to train
	@$(BIN)/python -m bench.demo --data $(DATA) --bundle $(BUNDLE) $(if $(CORPUS),--corpus "$(CORPUS)") \
	  $(if $(TRAIN_FLAGS),--train-flags="$(TRAIN_FLAGS)")

twin: env ## A Pi Zero 2 W emulated: prove it, model BUNDLE's latency, boot, judge; TWIN_FLAGS="--record" keeps the report
	@$(BIN)/python -m bench.twin report $(BUNDLE) $(TWIN_FLAGS)

scale: env ## The emulated board over 36 shapes: what a model's size costs, and the formula of `tinyedge fit`
	@$(BIN)/python -m bench.twin scale

bench-peers: env ## tinyedge beside onnxruntime-genai, llama.cpp, transformers; BUNDLE=path takes yours, PEERS_FLAGS="--rounds 3"
	@$(BIN)/python -m bench.peers $(if $(filter file,$(origin BUNDLE)),,--bundle "$(BUNDLE)") $(PEERS_FLAGS)

soak: env ## A real server on loopback, treated badly: disconnects, crowds, signals, 10,000 requests; BUNDLE=path takes yours
	@$(BIN)/python -m bench.serve.soak $(if $(filter file,$(origin BUNDLE)),tests/data/micro_bundle_int8,"$(BUNDLE)")

test: env ## Run all tests
	@$(BIN)/python -m pytest

test-interop: env ## The portable export in transformers, Optimum, onnxruntime-genai; INTEROP_FLAGS="--checkpoint FILE --js"
	@$(BIN)/python -m bench.interop $(INTEROP_FLAGS)

test-deploy: env ## The whole way to a board with real packages, this machine in its place
	@$(BIN)/python -m bench.deploy.end_to_end

check: env ## All that CI checks of the code: format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: env ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the environment and what tools left behind; data/ and bundle/ stay
	rm -rf $(VENV) .venv-peers .venv-interop dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
