# Everything runs in $(VENV), made on first use; nothing is installed outside it
# (but Chromium, Node.js and Graphviz, when root runs the tests). `make` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= $(if $(wildcard $(VENV)/.made-with-python-*),$(VENV)/bin/python,python3)
WORKERS ?= 2

PY := $(abspath $(VENV))/bin/python
PYTEST := $(PY) -m pytest
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
MADE := $(VENV)/.made-with-python-$(PYTHON_VERSION)

# The kernel of this environment, and Keras on JAX, for every target.
export JUPYTER_PREFER_ENV_PATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export KERAS_BACKEND := jax

# One line for each large package, instead of several hundred.
define shorten
awk '/(Downloading|Using cached).*[0-9][0-9]\.[0-9] MB\)/ { \
    n = split($$0, part, "[ /]+"); sub(/-(cp|py)[0-9].*/, "", part[n-2]); \
    print "  " part[n-2], part[n-1], part[n]; fflush() } \
  /^Installing collected packages/ { print "  unpacking"; fflush() }'
endef

##@ To use it
.PHONY: lab
lab: $(VENV)/.installed-notebook ## Open JupyterLab on notebooks/ (PORT=8888, NO_BROWSER=1)
	$(PY) -m jupyterlab --notebook-dir=notebooks \
	    $(if $(PORT),--port=$(PORT) --ServerApp.port_retries=0) \
	    $(if $(NO_BROWSER),--no-browser) \
	    $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: demo
demo: $(VENV)/.installed-notebook ## Run notebook 01 without a browser; the page is in build/
	$(PY) tests/notebooks/execute.py notebooks/01_first_model.ipynb build/01_first_model.html

##@ To test it
.PHONY: test
test: unit doctests notebooks ## Unit tests, examples in docstrings, notebooks

.PHONY: unit
unit: export JAX_PLATFORMS ?= cpu
unit: $(VENV)/.installed-test programs ## Unit tests and parity with Keras
	$(PYTEST) -n $(WORKERS) tests

.PHONY: doctests
doctests: export JAX_PLATFORMS ?= cpu
doctests: $(VENV)/.installed-test ## The examples in docstrings
	$(PYTEST) -p tests.conftest -n $(WORKERS) --doctest-modules kerasnb

.PHONY: parity
parity: export JAX_PLATFORMS ?= cpu
parity: $(VENV)/.installed-test ## Wide and slow comparisons with Keras
	$(PYTEST) -m parity -n $(WORKERS) tests

.PHONY: notebooks
notebooks: $(VENV)/.installed-test ## The notebooks, their outputs compared
	$(PYTEST) -p tests.nbval_plugin -n $(WORKERS) --dist loadscope --nbval \
	    --nbval-current-env --nbval-sanitize-with=tests/notebooks/sanitize.cfg notebooks

.PHONY: browser
browser: $(VENV)/.installed-test chromium ## The notebook in JupyterLab, in Chromium
	$(PYTEST) -m "browser and not soak" tests/browser

.PHONY: cluster
cluster: export JAX_PLATFORMS ?= cpu
cluster: $(VENV)/.installed-test ## Training in two processes, which are killed at times
	$(PYTEST) -m cluster tests/cluster tests/distribution

.PHONY: kernels
kernels: $(VENV)/.installed-test ## Training buttons on several versions of ipykernel
	$(PYTEST) -m kernels tests/kernels

.PHONY: kills
kills: export JAX_PLATFORMS ?= cpu
kills: $(VENV)/.installed-test ## Runs killed and interrupted at many random instants
	$(PYTEST) -m kills tests

.PHONY: reruns
reruns: export JAX_PLATFORMS ?= cpu
reruns: $(VENV)/.installed-test ## A model cell run a thousand times: what it leaves behind
	$(PYTEST) -m reruns tests/notebook

.PHONY: soak
soak: export KERASNB_SOAK ?= 30
soak: $(VENV)/.installed-test chromium ## Half an hour in one notebook: memory stays flat
	$(PYTEST) -m soak tests/browser

.PHONY: fuzz
fuzz: export JAX_PLATFORMS ?= cpu
fuzz: $(VENV)/.installed-test ## 20,000 damaged files, each refused or read right
	$(PY) -m tests.fuzz --count 20000

.PHONY: sources
sources: export JAX_PLATFORMS ?= cpu
sources: python-check ## Packages beside ours: their data, their callbacks
	@$(MAKE) --no-print-directory VENV=build/sources PYTHON=$(PYTHON) \
	    build/sources/.with-torch build/sources/.installed-sources
	build/sources/bin/python -m pytest -m sources tests/sources

.PHONY: bench
bench: $(VENV)/.installed-test ## Speed beside hand-written JAX, Keras, Flax and PyTorch
	$(PY) -m tests.benchmarks.run \
	    --also "$$(echo build/sources/lib/python*/site-packages)" $(BENCH)

.PHONY: bench-parts
bench-parts: $(VENV)/.installed-test ## Speed of streams, files, layers and their formulations
	$(PY) -m tests.benchmarks.streams
	$(PY) tests/benchmarks/files.py
	$(PY) -m tests.benchmarks.layers
	$(PY) -m tests.benchmarks.formulations

.PHONY: binder-check
binder-check: python-check ## What Binder does, in a clean environment
	PYTHON=$(PYTHON) binder/check

.PHONY: chromium
chromium: $(VENV)/.installed-test
	$(PY) -m tests.browser.chromium

# Programs the tests run: Node.js 18 or newer for the JavaScript, Graphviz for drawings.
.PHONY: programs
programs:
	@{ command -v node && command -v dot; } > /dev/null || { \
	    if [[ $$(id -u) = 0 ]] && command -v apt-get > /dev/null; then \
	        echo "Installing Node.js and Graphviz with apt-get ..."; apt-get -qq update; \
	        DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes \
	            --no-install-recommends nodejs graphviz > /dev/null < /dev/null; \
	    else \
	        echo "The tests need Node.js 18 or newer and Graphviz: install them, or expect some to fail." >&2; \
	    fi; }

##@ To change it
.PHONY: dev
dev: $(VENV)/.installed-dev ## Everything a contributor needs, and the pre-commit hook
	$(VENV)/bin/pre-commit install

.PHONY: lint
lint: $(VENV)/.installed-dev ## Style: ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

.PHONY: types
types: $(VENV)/.installed-dev ## Types: mypy
	$(VENV)/bin/mypy

.PHONY: format
format: $(VENV)/.installed-dev ## Rewrite the code in the house style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: clean
clean: ## Remove all that the targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
	find kerasnb tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { print "\n" substr($$0, 5) } \
	    /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- The environment ---------------------------------------------------------------

EXTRAS_notebook := notebook,sklearn,tune
EXTRAS_test := notebook,test
EXTRAS_dev := dev
EXTRAS_sources := sources

# A stamp for each set of extras: a second call installs nothing.
.PRECIOUS: $(VENV)/.installed-%
$(VENV)/.installed-%: $(MADE) pyproject.toml
	@echo "Installing kerasnb[$(EXTRAS_$*)] into $(VENV); the first time takes minutes"
	@$(PY) -m pip install --progress-bar off -e '.[$(EXTRAS_$*)]' | $(shorten)
	@touch $@

# PyTorch for the CPU alone, where pip finds it: the other one brings gigabytes of CUDA.
$(VENV)/.with-torch: $(MADE)
	@$(PY) -m pip install -q 'torch==2.13.0+cpu' 2> /dev/null || \
	    $(PY) -m pip install -q 'torch>=2.6'
	@touch $@

$(MADE): | python-check
	@echo "Creating $(VENV) with Python $(PYTHON_VERSION)"
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	    echo "$(PYTHON) cannot create an environment; on Debian and Ubuntu its package is python3-venv." >&2; exit 1; }
	@touch $@

.PHONY: python-check
python-check:
	@case "$(PYTHON_VERSION)" in 3.11|3.12|3.13) ;; \
	    "") echo "$(PYTHON) was not found: name a Python from 3.11 to 3.13, as in 'make lab PYTHON=python3.12'." >&2; exit 1 ;; \
	    *) echo "kerasnb needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $(PYTHON_VERSION): name another, as in 'make lab PYTHON=python3.12'." >&2; exit 1 ;; \
	esac
