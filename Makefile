# Everything sets itself up in .venv, with the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# One thread a worker: threads of several workers that wait for each other cost more than they bring. A file's tests stay with
# one worker, which makes what they share once; in the files' own order, as a file of few tests may well be a long one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test test-all drills check format bench pictures clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.venv/ready: pyproject.toml constraints.txt
	@echo "setting up .venv: a few minutes, 6 GB"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,weights,sweep,track,serve,refine,ray,annotations,dev]'
	touch .venv/ready

setup: .venv/ready  ## .venv with everything to train and to test

demo: .venv/ready  ## figures -> two models -> table, charts and pictures in runs/demo (minutes on a CPU)
	rm -rf runs/demo
	$(BIN)/fgbg demo --out runs/demo

test: .venv/ready  ## the fast tests: five minutes at most
	$(PYTEST)

test-all: .venv/ready  ## also the long and slow ones, and the demo
	$(PYTEST) -m "slow or not slow"
	$(MAKE) demo

drills: .venv/ready  ## what a kill, a full disk or a damaged file does to a run: docs/faults.md
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults -m "slow or not slow"

check: .venv/ready  ## format, lint, types, layers, all tests but the slow ones
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not slow"

format: .venv/ready  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready  ## speeds as ratios against named alternatives, onto a page with date and machine in benchmarks/results
	$(BIN)/python benchmarks/record.py training augmentation distances check

pictures: .venv/ready  ## README's pictures, from runs/demo
	$(BIN)/python docs/make_pictures.py runs/demo

clean:  ## remove what make made
	rm -rf .venv runs/demo
