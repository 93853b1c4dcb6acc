# tinyedge: from plain text to a language model that answers on a small board. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
BUNDLE ?= bundle
CORPUS ?=
TASK ?=
TRAIN_FLAGS ?=
TWIN_FLAGS ?=
PEERS_FLAGS ?=
INTEROP_FLAGS ?=
CLIENTS_FLAGS ?=
KERNELS_SOURCES := $(wildcard export/kernels/*.py export/kernels/*.toml export/kernels/*/*.[chp]*)
# Sizes of the wheels of torch 2.13 (CPU) and 2.14 (CUDA) for x86-64 Linux; CUDA's own libraries come on top.
INSTALLING := printf '%s\n' '2/2 installing packages, a few minutes; the largest is torch:' '    190 MB for a CPU, 550 MB and more with CUDA'

# make takes any variable from the command line; one in small letters would be ignored without a word.
$(foreach name,corpus data bundle task train_flags,$(if $(filter command,$(origin $(name))),\
  $(error $(name)= is not a variable here: write it in capitals)))

.DEFAULT_GOAL := help
.PHONY: help env demo twin scale bench-peers soak test test-interop test-clients test-deploy check docs format clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 18

env: $(VENV)/ready $(VENV)/kernels ## Create the environment in .venv, with uv if it is installed, otherwise with venv and pip

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is missing or older than 3.11; pass another: make PYTHON=python3.11" >&2; exit 1; }
	@[ -t 1 ] || quiet=--quiet; \
	if command -v uv >/dev/null; then \
	  echo "1/2 creating $(VENV) with uv" && \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && $(INSTALLING) && \
	  uv pip install $$quiet --python $(BIN)/python -e '.[dev]'; \
	else \
	  echo "1/2 creating $(VENV) with venv and pip"; \
	  $(PYTHON) -m venv $(VENV) || { \
	    echo "error: $(PYTHON) cannot create a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }; \
	  $(INSTALLING) && $(BIN)/python -m pip install $$quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $@

# The compiler comes as a package. Without the kernels everything works too, more slowly: not compiling them is no error.
$(VENV)/kernels: $(VENV)/ready $(KERNELS_SOURCES)
	@touch $@; \
	case "$$(uname -sm)" in "Linux x86_64" | "Linux aarch64") ;; *) \
	  echo 'no native kernels for this machine: ONNX Runtime computes'; exit;; esac; \
	echo 'compiling the native kernels, half a minute, with a compiler of 90 MB that is not kept'; \
	if [ -x $(BIN)/pip ]; then installer="$(BIN)/python -m pip install --quiet --disable-pip-version-check"; \
	else installer="uv pip install --quiet --python $(BIN)/python --reinstall-package tinyedge-kernels"; fi; \
	if $$installer ./export/kernels; then echo 'native kernels: installed'; \
	else printf '%s\n' 'native kernels: not compiled, see above; everything works without them, more slowly' \
	  'after you have mended the cause: rm $@ && make env' >&2; fi

demo: env ## Run all steps from text to verdict, with a summary; CORPUS=path uses your text, TASK=commands makes a model of home commands, TRAIN_FLAGS="..." are passed to train
	@$(BIN)/python -m bench.demo --data $(DATA) --bundle $(BUNDLE) $(if $(CORPUS),--corpus "$(CORPUS)") \
	  $(if $(TASK),--task "$(TASK)") \
	  $(if $(TRAIN_FLAGS),--train-flags="$(TRAIN_FLAGS)")

twin: env ## Emulate a Pi Zero 2 W: check it, model BUNDLE's latency, boot, evaluate; TWIN_FLAGS="--record" keeps the report
	@$(BIN)/python -m bench.twin report $(BUNDLE) $(TWIN_FLAGS)

scale: env ## Measure 36 model shapes on the emulated board, and fit the formula of `tinyedge fit`
	@$(BIN)/python -m bench.twin scale

bench-peers: env ## Compare with onnxruntime-genai, llama.cpp and transformers; BUNDLE=path uses your bundle, PEERS_FLAGS="--rounds 3"
	@$(BIN)/python -m bench.peers $(if $(filter file,$(origin BUNDLE)),,--bundle "$(BUNDLE)") $(PEERS_FLAGS)

soak: env ## Misuse a real server and the native kernels: disconnects, overload, hostile shapes; BUNDLE=path uses your bundle
	@$(BIN)/python -m bench.serve.soak $(if $(filter file,$(origin BUNDLE)),tests/data/micro_bundle_int8,"$(BUNDLE)")
	@$(BIN)/python -m bench.kernels.sanitize --seconds 600

test: env ## Run all tests
	@$(BIN)/python -m pytest

test-interop: env ## Test the portable export in transformers, Optimum and onnxruntime-genai; INTEROP_FLAGS="--checkpoint FILE --js"
	@$(BIN)/python -m bench.interop $(INTEROP_FLAGS)

test-clients: env ## Test other programs as clients of the server, each in its own environment; CLIENTS_FLAGS="--only openai"
	@$(BIN)/python -m bench.clients $(CLIENTS_FLAGS)

test-deploy: env ## Test a complete deployment with real packages, with this machine in place of the board
	@$(BIN)/python -m bench.deploy.end_to_end

check: env ## Run the checks of the code that CI runs: format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

docs: env ## Build the documentation as a site in build/site; a broken link is an error
	@$(BIN)/python -m bench.docs_site

format: env ## Format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the environments and caches; data/ and bundle/ are kept
	rm -rf $(VENV) .venv-peers .venv-interop .venv-clients dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
