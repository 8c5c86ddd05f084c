# make demo | test | tables | bench | lint      each builds .venv when it is missing
# An existing interpreter instead:  make test PYTHON=/usr/bin/python3 VENV=
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
ifeq ($(strip $(VENV)),)
PY := $(PYTHON)
RUN_READY := setup.cfg
TEST_READY := setup.cfg
else
PY := $(VENV)/bin/python
RUN_READY := $(VENV)/ready-run
TEST_READY := $(VENV)/ready-test
endif
# -P keeps the checkout's own folders (datasets/ ...) off sys.path
HANDBENCH := $(PY) -P -m handbench

.PHONY: demo test test-all tables bench lint venv clean

demo: $(RUN_READY)
	@$(HANDBENCH) demo

test: $(TEST_READY)
	@$(PY) -P -m pytest -m "not slow" -n $(JOBS) --dist loadfile

test-all: $(TEST_READY)
	@$(PY) -P -m pytest -n $(JOBS) --dist loadfile

tables: $(RUN_READY)
	@$(HANDBENCH) tables

bench: $(TEST_READY)
	@$(PY) -P benchmarks/all.py

# mypy does not follow the mapped folders of setup.cfg: show it the installed layout by links
lint: $(TEST_READY)
	@$(PY) -P -m ruff check .
	@$(PY) -P -m ruff format --check .
	@rm -rf build/lint && mkdir -p build/lint && cp -rs $(CURDIR)/handbench build/lint/
	@for room in methods datasets results; do cp -rs $(CURDIR)/$$room build/lint/handbench/; done
	@cd build/lint && $(abspath $(PY)) -P -m mypy --config-file $(CURDIR)/setup.cfg -p handbench

venv: $(RUN_READY)

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: no '$(PYTHON)': install Python 3.11 or newer, or give PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $$($(PYTHON) --version) is too old, Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "install   Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/ready-run: $(VENV)/bin/python setup.cfg constraints.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train]"
	@touch $@

$(VENV)/ready-test: $(VENV)/ready-run
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,test]"
	@touch $@

clean:
	rm -rf build dist *.egg-info results/demo results/out
