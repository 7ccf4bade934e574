# Everything runs in a virtual environment that is set up from requirements.lock.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: check prove test lint check-all bench bench-server bench-election clean

check: $(VENV)/ready ## explore 3 servers and 3 terms to the end
	$(RUN) -m model_check --servers 3 --terms 3

prove: $(VENV)/ready ## prove safety without bounds
	$(RUN) -m model_check prove

test: lint ## everything that a change must pass
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

check-all: $(VENV)/ready ## the long runs: both profiles, larger bounds, all mutants
	$(RUN) -m model_check --servers 3 --terms 3
	$(RUN) -m model_check --servers 3 --terms 3 --log-length 3
	$(RUN) -m model_check --servers 3 --terms 3 --profile server
	$(RUN) -m model_check --servers 3 --terms 4
	$(RUN) -m model_check --servers 4 --terms 2 --with membership
	$(RUN) -m model_check.raft_features
	$(RUN) -m model_check --all-mutants
	$(RUN) -m model_check --servers 3 --terms 3 --refinement
	$(RUN) -m model_check --servers 3 --terms 2 --profile server --refinement
	$(RUN) -m model_check --servers 3 --terms 2 --with membership --refinement
	$(RUN) -m model_check --servers 3 --terms 2 --log-length 2 --with snapshot --refinement
	$(RUN) -m model_check --servers 3 --terms 2 --log-length 3 --with snapshot,membership --refinement
	$(RUN) -m model_check --servers 3 --terms 2 --log-length 1 --with reads --refinement
	$(RUN) -m model_check --servers 3 --terms 1 --log-length 3 --with reads,membership --refinement
	$(RUN) -m model_check --servers 2 --terms 2 --log-length 2 --with reads,snapshot --refinement
	$(RUN) -m model_check prove --seed 1 --quiet
	$(RUN) -m model_check prove --states
	$(RUN) -m model_check prove --mutants
	$(RUN) -m pytest -m long

bench: $(VENV)/ready ## measure, print the tables of BENCHMARKS.md
	-$(RUN) -m pip install --quiet --no-build-isolation --editable '.[bench]'
	$(RUN) -m model_check.bench --write
	$(RUN) -m benchmarks.peers --write

bench-server: $(VENV)/ready ## the server beside etcd and PySyncObj
	-$(RUN) -m pip install --quiet --no-build-isolation --editable '.[bench]'
	$(RUN) -m benchmarks.server --write

bench-election: $(VENV)/ready ## the time without a leader after a crash (Figure 16)
	$(RUN) -m benchmarks.failover --write

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV)
