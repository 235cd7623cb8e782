# make demo | lab | test | test-all | notebooks | fusion-lab | book | bench | ablations | peers | lint | clean.
# Each target makes .venv and installs what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo lab test test-all notebooks fusion-lab book bench ablations peers lint clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pano-med needs Python 3.11 or newer; choose one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch first, by itself and pinned, so that nothing that asks for "some torch" can pull another build.
$(VENV)/.core: $(VENV)/.made pyproject.toml .ci/constraints.txt
	@echo "installing pano-med into $(VENV); the first time takes some minutes"
	$(INSTALL) torch torchvision
	$(INSTALL) -e .
	@touch $@

$(VENV)/.lab: $(VENV)/.core
	$(INSTALL) -e '.[lab,explore]'
	@touch $@

# [lab] too: the fast tests try the widgets without a browser.
$(VENV)/.dev: $(VENV)/.core
	$(INSTALL) -e '.[lab,explore,dev]'
	@touch $@

$(VENV)/.all: $(VENV)/.dev
	$(INSTALL) -e '.[lab,explore,dev,book]'
	@touch $@

demo: $(VENV)/.core ## segment a real H&E region and write report.html
	$(BIN)/pano-med demo --out demo_out

lab: $(VENV)/.lab ## open the lessons in JupyterLab
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

test: $(VENV)/.dev ## the fast tests
	$(BIN)/python -m pytest

test-all: $(VENV)/.all ## fast, slow, browser and notebook tests
	$(BIN)/python -m pytest -m ""

notebooks: $(VENV)/.dev ## make the notebooks from notebooks/src
	$(BIN)/python notebooks/build.py

fusion-lab: $(VENV)/.all ## write docs/fusion_lab.html, the fusion lab that needs no Python
	$(BIN)/python notebooks/fusion_lab.py

book: $(VENV)/.all ## lessons with their pictures, guides and reference as one site: build/book/html/index.html
	$(BIN)/python docs/book/make_book.py

bench: $(VENV)/.dev ## measure against other implementations, write docs/benchmarks.md
	$(BIN)/python benchmarks/run.py

ablations: $(VENV)/.dev ## train every arm with two seeds (hours; Ctrl-C, then again, goes on): runs/ablations/ablations.md
	$(BIN)/python benchmarks/ablations.py --out runs/ablations

peers: $(VENV)/.dev ## train other methods beside ours, an hour each (Ctrl-C, then again, goes on): runs/peers/peers.md
	$(BIN)/python benchmarks/bench_peers.py train all --minutes 60 --out runs/peers
	$(BIN)/python benchmarks/bench_peers.py score --out runs/peers

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

clean: ## remove .venv, caches and the demo's output
	rm -rf $(VENV) demo_out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
