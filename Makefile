# `make` is the interface; CI calls the same targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TORCH  := $(shell sed -n 's/^torch==/&/p' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup figure2 figure3 table1 gradient-error displacement landscape parity ablations estimators figures report test test-all check lint format types bench bench-cuda bench-run first-use jacobians clean clean-runs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## create .venv with the pinned packages (every target does it when needed)

# On Linux without an NVIDIA driver the CPU build of torch is a tenth of the download; where that
# index cannot be reached, any build of the pinned version will do.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "maac-bench needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null; then \
	  $(BIN)/pip install --quiet --retries 0 --no-deps "$(TORCH)" \
	    --extra-index-url https://download.pytorch.org/whl/cpu 2>/dev/null || true; \
	fi
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

figure3: setup ## run and draw Figure 3 (a minute or two; finished parts are kept)
	@$(BIN)/maac-bench figure figure3 $(addprefix --profile ,$(PROFILE))

estimators: setup ## run and draw the comparison of all estimators
	@$(BIN)/maac-bench figure estimators $(addprefix --profile ,$(PROFILE))

figure2: setup ## train and draw Figure 2; PROFILE=mujoco or paper for hours or days
	@$(BIN)/maac-bench figure figure2 $(addprefix --profile ,$(PROFILE))

table1: setup ## evaluate the trained maac policies with and without planning; PROFILE likewise
	@$(BIN)/maac-bench figure table1 $(addprefix --profile ,$(PROFILE))

gradient-error: setup ## train maac on HalfCheetah and measure its gradient against true dynamics (hours)
	@$(BIN)/maac-bench figure gradient_error $(addprefix --profile ,$(PROFILE))

displacement: setup ## gradients away from the policies that have optimised them, in closed form; PROFILE=mujoco or hopper (hours)
	@$(BIN)/maac-bench figure displacement $(addprefix --profile ,$(PROFILE))

landscape: setup ## test returns along a trained agent's gradients (hours: it trains HalfCheetah)
	@$(BIN)/maac-bench figure landscape $(addprefix --profile ,$(PROFILE))

jacobians: setup ## the simulator's Jacobian against differences of whole steps -> benchmarks/jacobians
	@$(BIN)/python -m benchmarks.jacobians

parity: setup $(VENV)/.peers ## train SAC here and in stable-baselines3 (an hour or so) and draw both
	@$(BIN)/maac-bench figure parity $(addprefix --profile ,$(PROFILE))

ablations: setup ## train and draw the ablations; PROFILE likewise
	@$(BIN)/maac-bench figure ablations $(addprefix --profile ,$(PROFILE))

figures: setup ## redraw every figure from the committed data
	@$(BIN)/python -m reports

report: setup ## all reports on one page -> reports/index.html
	@$(BIN)/python -m reports.page

test: setup ## the quick tests
	@$(BIN)/pytest -q -n 2

test-all: setup ## the quick and the slow tests
	@$(BIN)/pytest -q -n 2 -m ''

check: lint types test ## format, lint, types, tests

lint: setup
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: setup
	@$(BIN)/mypy

format: setup ## rewrite the sources in the house format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: setup $(VENV)/.peers ## agent updates beside peers, estimators beside their floor -> benchmarks/results.csv
	@$(BIN)/python -m benchmarks

bench-cuda: setup ## agent updates on a GPU, one and several stacked seeds -> benchmarks/cuda
	@$(BIN)/python -m benchmarks.cuda

bench-run: setup ## memory and time of an old run: HalfCheetah, 200 episodes, the paper's sizes -> benchmarks/long_run
	@$(BIN)/python -m benchmarks.long_run

first-use: setup ## wall-clock time of the main commands in a fresh clone -> benchmarks/first_use
	@$(BIN)/python -m benchmarks.first_use

$(VENV)/.peers: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'
	@touch $@

clean: ## remove caches (not .venv, not runs, not committed data)
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-runs: ## remove every experiment and training run, finished or not
	rm -rf runs
