# Two commands do everything from a clean clone: make demo, make test.
# They need make, Python 3.11 to 3.13 with venv, and a way to the package index; nothing else.

PYTHON ?= python3
BIN := .venv/bin
# Two more processes than there are cores (tests/forks.py), each with one torch thread: with two threads each, processes
# that share two cores are 20 times slower.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q --workers auto
# What failed is tried once more, alone: a terminal or a signal may be late where the machine is busy. A bug fails again.
AGAIN := (echo "Once more, alone. What passes now is flaky and must be fixed:"; OMP_NUM_THREADS=1 \
	$(BIN)/pytest -v --exitfirst --no-header --last-failed --last-failed-no-failures none)
LOCK := pip compile --universal --no-config --fork-strategy fewest --python-version 3.11 --all-extras \
	--no-annotate --custom-compile-command "make lock" --output-file constraints.txt

# Some machines tell Python to keep no bytecode. Then each process compiles torch and what stands on it again: 18 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint types tests thorough faults docs resolve lock format clean

## demo: teach a real 135M model the structure, and compare its answers before and after
demo: demo/run/adapter/adapter_model.safetensors
	@$(BIN)/python tools/demo.py demo/run

# 130 of the recipe's 242 steps, to save time (docs/log.md).
demo/run/adapter/adapter_model.safetensors: | demo/data.jsonl
	$(BIN)/alttrain train --recipe smollm2-135m --set train.max_steps=130 --data demo/data.jsonl --out demo/run $(if $(wildcard demo/run),--resume)

demo/data.jsonl: | .venv/installed-demo
	$(BIN)/alttrain build-data --source starter --out demo/data.jsonl

## test: lint, types and all tests, with the embedded model for real
test: lint types tests

## check: the fast part of test
check: lint types
	$(PYTEST) -m "not model and not thorough"

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/mypy

tests: .venv/installed-dev
	$(PYTEST) -m "not thorough" || $(AGAIN)

## thorough: the tests that test leaves out and names; CI runs them every week
thorough: .venv/installed-dev
	$(PYTEST) -m thorough

## faults: faults at every point of training too; make test tries a part of them
faults: .venv/installed-dev
	ALTTRAIN_ALL_FAULTS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q tests/test_faults.py

## docs: the documents as a site, in site/
docs: .venv/installed-dev
	$(BIN)/zensical build --strict

## resolve: does the tested set resolve on every system that we claim? With PyPI alone
resolve: .venv/bin/uv
	$(BIN)/python tools/resolve.py

## lock: make the tested set again; make lock UPGRADE=--upgrade takes newer versions
lock: .venv/bin/uv
	$(BIN)/uv $(LOCK) $(UPGRADE) --quiet pyproject.toml

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf demo runs .venv

.venv/installed-%: pyproject.toml constraints.txt tools/install.py tools/data-packages.txt
	$(PYTHON) tools/install.py $*
	@touch $@

.venv/bin/uv:
	$(PYTHON) tools/install.py
