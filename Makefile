# `make run` serves, `make test` runs the tests, `make` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
PIP_FLAGS ?=# passed to every pip install
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS)
TORCH_INDEX = $(shell $(BIN)/python export/torch_index.py)# PyTorch's CPU index, where it can be reached
TORCH := torch==2.13.0
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help run serve test check format docs demo bench vm-check export train audit lock pin clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.runtime ## install the server and serve on 127.0.0.1:8080; VOWS_PORT and every other setting pass through
	@$(MAKE) --no-print-directory serve

# Docstrings and asserts stay out of the server's memory: 2 MiB, most of it numpy's documentation.
serve: ## serve without checking installs
	@exec env PYTHONOPTIMIZE=2 $(BIN)/vows-edge serve

test: .venv/.test .venv/.stsb ## install what the tests need (PyTorch, too) and run every test
	@# Tests on every core wait for each other: what fails runs once more by itself, and a real fault fails twice.
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile \
		|| OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --last-failed --last-failed-no-failures none

.PHONY: install
install: .venv/.test .venv/.stsb ## install everything that development needs

# The client libraries that tests/clients tries, in environments of their own; without them those tests are skipped.
.PHONY: clients
clients: build/clients/python/.installed build/clients/node/.installed ## install the client libraries of tests/clients

# A pooler for the tests of Postgres, from Debian's packages; without it they are skipped.
.PHONY: pgbouncer
pgbouncer: ## unpack PgBouncer for the tests behind it
	@$(BIN)/python -m bench.pgbouncer

# Linters and client generators for the OpenAPI document; without them the tests in tests/openapi are skipped.
.PHONY: generators
generators: build/openapi/python/.installed build/openapi/node/.installed ## install the OpenAPI tools of tests/openapi

# What a folder of tests needs beside the project, in an environment of its own: from its lock files.
build/%/python/.installed: tests/%/python/requirements.lock
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

build/%/node/.installed: tests/%/node/package-lock.json
	@mkdir -p $(@D) && cp $(<D)/package.json $< $(@D)/
	@if command -v npm >/dev/null; then cd $(@D) && npm ci --silent --no-audit --no-fund && touch .installed; \
		else echo "npm is not here: what tests/$* needs of Node.js is not installed"; fi

check: .venv/.test ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.test ## format the code and sort its imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.test ## write the references that are made from the code
	@$(BIN)/python -m docs.generate

demo: ## load the wedding example into the running server (VOWS_PORT, VOWS_HOST) and show how rankings change
	@$(BIN)/vows-edge demo

bench: .venv/.bench ## run the benchmarks and compare them with their targets
	@$(BIN)/python -m bench

vm-check: .venv/.runtime ## boot a virtual machine of 256 MiB; ROOT=folder CONFIG=file of an image: python -m bench.vm --help
	@$(BIN)/python -m bench.vm $(if $(ROOT),--root $(ROOT) --config $(CONFIG))

export: .venv/.export .venv/.stsb ## make the bundles in runtime/bundles again
	@$(BIN)/vows-edge export minilm
	@$(BIN)/vows-edge export sequence --out runtime/bundles/sequence

train: .venv/.train ## make the reference checkpoint again (four hours at most on one core)
	@$(BIN)/vows-edge train --recipe reference --out build/first
	@$(BIN)/vows-edge train --from build/first/best --worlds $$(seq 16 39) --epochs 3 --out build/second
	@$(BIN)/vows-edge train --from build/second/best --worlds $$(seq 40 79) --epochs 1 --expected-actions --out build/third
	@$(BIN)/vows-edge train --from build/third/best --worlds $$(seq 80 95) --epochs 1 --expected-actions --out build/fourth
	@$(BIN)/vows-edge train --from build/fourth/best --worlds $$(seq 96 135) --epochs 1 --expected-actions --out build/fifth
	@$(BIN)/vows-edge train --from build/fifth/best --worlds $$(seq 136 151) --epochs 1 --expected-actions --out build/reference
	@rm -rf checkpoints/reference && mkdir -p checkpoints && cp -r build/reference/best checkpoints/reference

audit: .venv/.audit ## look up known vulnerabilities of what the server installs; asks the Python package index
	@$(BIN)/python -m pip_audit --strict --disable-pip --require-hashes -r requirements.lock \
		|| { echo "Not audited, or something was found. Without the index (https://pypi.org) nothing can be said: no copy of its advisories is kept here" >&2; exit 1; }

# tokenizers declares huggingface-hub, which only downloads from the hub need: the server never does, so neither it nor
# what it brings are in its lock, which is installed with --no-deps. torch differs by index, so it is left out of what uv
# resolves, while what it depends on is put in.
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-emit-index-url \
	--no-emit-find-links --no-header
lock: .venv/.test ## write the requirements*.lock files from pyproject.toml
	@mkdir -p build
	@echo "huggingface-hub; python_version < '3'" > build/without-hub.txt
	@echo "torch; python_version < '3'" > build/without-torch.txt
	@printf '%s\n' filelock fsspec jinja2 networkx sympy > build/of-torch.in
	$(COMPILE) --generate-hashes --overrides build/without-hub.txt -o requirements.lock
	$(COMPILE) --generate-hashes --extra postgres --constraints requirements.lock --overrides build/without-hub.txt \
		-o requirements-postgres.lock
	$(COMPILE) --all-extras --no-annotate --constraints requirements.lock --overrides build/without-torch.txt \
		--no-emit-package vows-edge --no-emit-package pip build/of-torch.in -o requirements-dev.lock
	@echo "$(TORCH)" >> requirements-dev.lock
	$(COMPILE) --generate-hashes --no-annotate --extra export --constraints requirements-dev.lock \
		--overrides build/without-torch.txt --no-emit-package vows-edge --no-emit-package pip build/of-torch.in \
		-o requirements-export.lock
	$(subst pyproject.toml,tests/clients/python/requirements.in,$(COMPILE)) --generate-hashes --no-annotate \
		-o tests/clients/python/requirements.lock
	$(subst pyproject.toml,tests/openapi/python/requirements.in,$(COMPILE)) --generate-hashes --no-annotate \
		-o tests/openapi/python/requirements.lock
	for folder in clients openapi; do (cd tests/$$folder/node && npm install --package-lock-only \
		--omit-lockfile-registry-resolved --silent --no-audit --no-fund); done

IMAGE := python:3.11-slim
pin: ## write the digest that the base image has now into the Dockerfile; asks its registry
	@digest=$$(docker buildx imagetools inspect $(IMAGE) --format '{{.Manifest.Digest}}' 2>/dev/null \
		|| skopeo inspect --format '{{.Digest}}' docker://docker.io/library/$(IMAGE) 2>/dev/null); \
	case "$$digest" in sha256:*) ;; *) echo "No digest of $(IMAGE): docker buildx or skopeo, and the registry, are needed" >&2; exit 1 ;; esac; \
	sed -i "s|^ARG PYTHON_IMAGE=.*|ARG PYTHON_IMAGE=$(IMAGE)@$$digest|" Dockerfile && grep '^ARG PYTHON_IMAGE' Dockerfile

clean: ## remove what was installed and built, but neither data/ nor models/
	rm -rf .venv build *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.runtime: .venv/bin/python requirements.lock pyproject.toml
	@echo "installing the server (locked, with hashes)"
	@$(PIP) --no-compile --no-deps --require-hashes -r requirements.lock
	@$(PIP) --no-deps --editable .
	@touch $@

.venv/.export .venv/.train .venv/.test: .venv/.%: .venv/.runtime requirements-dev.lock
	@echo "installing the $* extra, with PyTorch"
	@$(PIP) $(TORCH_INDEX) --constraint requirements-dev.lock --editable '.[$*]'
	@touch $@

.venv/.bench .venv/.audit: .venv/.%: .venv/.runtime requirements-dev.lock
	@echo "installing the $* extra"
	@$(PIP) --constraint requirements-dev.lock --editable '.[$*]'
	@touch $@

# Its sentences and scores alone; it declares BERT libraries that these do not need.
.venv/.stsb: .venv/.runtime export/stsb.py
	@$(PIP) --no-deps "$$($(BIN)/python -c 'from export import stsb; print(stsb.REQUIREMENT)')"
	@touch $@
