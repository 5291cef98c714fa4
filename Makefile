# Everything a person does with this checkout. Each target prepares what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: up cluster test venv check lint types tests bench soak demo docs lock clean

up: $(READY)          ## start the appliance and print where everything is
	$(BIN)/appliance up

demo: $(READY)        ## start, push a sample app, show what happened, stop
	$(BIN)/appliance demo

cluster: $(READY)     ## the same as many processes on real NATS servers; kill one of each
	$(BIN)/python examples/cluster.py $(ARGS)

test: $(READY)        ## everything that CI runs
	$(MAKE) --no-print-directory check

check: lint types tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

tests: $(READY)
	$(BIN)/pytest -m "not soak" $(ARGS)

soak: $(READY)        ## the long loops
	$(BIN)/pytest -m soak -o faulthandler_timeout=3600 $(ARGS)  # long is no hang there

bench: $(READY)       ## measure, against named peers; the table goes to docs/benchmarks.md
	$(BIN)/python -m benchmarks

venv: $(READY)        ## only the environment

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "The Python module venv is missing: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	# Uncompiled modules would quadruple the time of the first start.
	$(BIN)/python -m compileall -q appliance fake_controller
	@touch $@

docs: $(READY)        ## write docs/reference from the code
	$(BIN)/python docs/reference.py

lock: $(READY)        ## renew requirements.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	  --python-version 3.11 --extra dev --custom-compile-command "make lock" \
	  pyproject.toml -o requirements.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
