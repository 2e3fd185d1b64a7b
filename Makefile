# Every target sets up what it needs: only make and Python 3.11 with venv and pip are assumed.
#
#   make demo      simulate a patient, measure it, show the result (core dependencies only)
#   make test      all extras, then the tests
#   make check     what CI runs: lint, types, import contracts, licenses, the site, tests with coverage
#   make docs      the pages made from code, then the documentation site in site/
#   make train     make every model file anew         make validate  the accuracy tables
#   make threshold THRESHOLD=0.3    change the operating point, and make anew what rests on it
#   make bench     time and memory                    make lock      resolve the dependencies anew
#   make fuzz      hostile input through every door
#   make viewer    the viewer's part for the graphics card (Node.js, or a wheel that brings it)
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# The locks name no package index: uv and pip use whichever this machine is set up for.
# Compiled to bytecode once, here: where Python may not write its cache every run would pay for it again.
SYNC := $(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode
INSTALL_SELF := $(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . && \
	$(BIN)/python -m compileall -q src
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links
DEMO_OUT ?= demo-result
# Further arguments, as in `make test TESTS="tests/test_cli.py -k json"`.
TESTS ?=
VALIDATE ?=
FUZZ ?= --minutes 60
BENCH ?=
THRESHOLD ?=

.PHONY: demo test check coverage scans lint types contracts licenses train threshold validate bench fuzz lock core all docs viewer \
	clean
.DEFAULT_GOAL := demo

# --- set-up -------------------------------------------------------------------------------------
# A stamp newer than its lock means the environment already matches: nothing is fetched or removed.
$(VENV)/bootstrap.stamp: requirements/bootstrap.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/all.stamp: requirements/all.txt pyproject.toml $(VENV)/bootstrap.stamp
	@echo "setting up $(VENV) with all extras"
	@$(SYNC) requirements/all.txt requirements/bootstrap.txt
	@$(INSTALL_SELF)
	@touch $@

# The larger environment serves the core's targets too, so it is never shrunk.
$(VENV)/core.stamp: requirements/core.txt pyproject.toml $(VENV)/bootstrap.stamp
	@if [ -e $(VENV)/all.stamp ]; then $(MAKE) --no-print-directory all; else \
		echo "setting up $(VENV) with the core" && \
		$(SYNC) requirements/core.txt requirements/bootstrap.txt && $(INSTALL_SELF); fi
	@touch $@

# The site's packages come on top, so that `make test` does without; the versions agree with those of all.txt.
$(VENV)/docs.stamp: requirements/docs.txt $(VENV)/all.stamp
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r $<
	@touch $@

core: $(VENV)/core.stamp
all: $(VENV)/all.stamp

# --- what a user runs ---------------------------------------------------------------------------
demo: core
	@$(BIN)/miliary demo --out $(DEMO_OUT)

# --- what a developer runs ----------------------------------------------------------------------
test: all
	@$(BIN)/python -m pytest $(TESTS)

# Mutated inputs through every door, for an hour by default: make fuzz FUZZ="--minutes 5 --door dicom".
fuzz: all
	@$(BIN)/python -m fuzzing.run $(FUZZ)

check: lint types contracts licenses viewer
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target coverage scans
	@$(MAKE) --no-print-directory docs

# Every test, in two runs side by side. Under coverage those of what Python runs itself; the others run compiled
# loops, browsers and whole commands, which a tracer would slow down or not see (pyproject.toml says what is measured).
COVERED := tests/clinical tests/exchange tests/report
# After those, without the tracer: so that both runs take about as long.
AFTER := tests/model tests/training tests/validation
coverage: all
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest -q $(COVERED)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@$(BIN)/python -m pytest -q $(AFTER)

scans: all
	@$(BIN)/python -m pytest -q $(addprefix --ignore=,$(COVERED) $(AFTER)) tests

# The viewer's part for the graphics card: built from a lock, never committed. Without it the viewer works
# and says so.
BUNDLE := src/miliary/viewer/static/webgl.js
viewer: $(BUNDLE)

$(BUNDLE): web/webgl.js web/build.mjs web/package.json web/package-lock.json tools/build_viewer.py \
		$(VENV)/bootstrap.stamp
	@$(BIN)/python tools/build_viewer.py

lint: all
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python tools/check_names.py
	@$(BIN)/python tools/check_docstrings.py
	@$(BIN)/python tools/count_json_reads.py

types: all
	@$(BIN)/mypy

contracts: all
	@$(BIN)/lint-imports

licenses: $(VENV)/docs.stamp
	@$(BIN)/python tools/check_licenses.py requirements/core.txt requirements/all.txt requirements/docs.txt

# Warnings are errors; the tutorials are run. Needs no network once the packages are installed.
docs: $(VENV)/docs.stamp
	@$(BIN)/python tools/write_docs.py
	@rm -rf docs/reference/modules
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs 2 -b html -d site/.doctrees docs site
	@echo "open site/index.html"

train: all
	@$(BIN)/python -m training.make_all

# The trees stay; the chance of detection by place and the rates of false positives are measured anew.
threshold: all
	@test -n "$(THRESHOLD)" || { echo "give THRESHOLD=0.3, a probability"; exit 2; }
	@$(BIN)/python -m training.make_all --keep-trees --threshold $(THRESHOLD)

validate: all
	@$(BIN)/python -m validation.case_generator 10000
	@$(BIN)/python -m validation.interchange 1000
	@$(BIN)/python -m validation.run $(VALIDATE)

bench: all
	@$(BIN)/python -m benchmarks.run $(BENCH)

lock: $(VENV)/bootstrap.stamp
	@$(COMPILE) --group bootstrap --output-file requirements/bootstrap.txt
	@$(COMPILE) pyproject.toml --group build --output-file requirements/core.txt
	@$(COMPILE) pyproject.toml --all-extras --group build --group dev \
		--constraints requirements/core.txt --output-file requirements/all.txt
	@$(COMPILE) --group docs --constraints requirements/all.txt --output-file requirements/docs.txt
	@$(COMPILE) --group node --output-file requirements/node.txt
	@$(BIN)/python tools/check_locks.py

clean:
	rm -rf $(VENV) $(DEMO_OUT) site jupyter_execute docs/reference/modules .coverage .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis \
		web/node_modules $(BUNDLE) src/miliary/viewer/static/webgl.licenses.txt
