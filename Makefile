# `make` lists what there is. Everything sets itself up: a fresh machine needs Python >= 3.11 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
CLIENTS := tests/integration/apigateway/clients
DYNAMODB_LOCAL := tests/integration/aws/dynamodb_local
SCRIPT := src/tellwire/gateway/script/tellwire.js
PAGE := examples/parts_upload/web
PRODUCERS := examples/producers/typescript examples/producers/aws
PAGE_SOURCES := $(wildcard $(addprefix $(PAGE)/,*.html *.json *.ts src/*) $(addprefix clients/,*.json */*.json */src/* */src/*/*))
NPM_STAMPS := $(CLIENTS)/node_modules/.synced $(DYNAMODB_LOCAL)/node_modules/.synced clients/node_modules/.synced \
  $(PAGE)/node_modules/.synced $(addsuffix /node_modules/.synced,$(PRODUCERS))

# A file's name may have any characters: neither make nor the shell may read it. `value` does not expand it.
unexport FILE
export FILE_OF_USER = $(value FILE)
FILE_OPTION = $(if $(value FILE),--file="$$FILE_OF_USER")

export UV_PROJECT_ENVIRONMENT := $(VENV)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-django demo-fastapi comments script packages cluster demo-aws lambda-layers test test-cases test-fast test-all coverage test-unit-3.13 native test-native check format bench spec reference docs tutorial clean

help: ## List the targets
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: $(STAMP) ## Create .venv with everything in it

$(STAMP): pyproject.toml uv.lock scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup
	@touch $@

demo: $(STAMP) $(if $(ONCE),,$(PAGE)/dist/.built) ## Run the main job, with a page. ONCE=1 ends by itself, FILE=mine.csv takes your file
	@$(BIN)/python -m examples.parts_upload.demo $(if $(ONCE),--once) $(FILE_OPTION)

$(PAGE)/dist/.built: $(PAGE_SOURCES) scripts/page
	@MAKE="$(MAKE)" scripts/page

demo-fastapi: $(STAMP) $(if $(ONCE),,$(SCRIPT)) ## Run a FastAPI program with a login, an import and its progress on one port. ONCE=1 ends by itself
	@$(BIN)/python -m examples.fastapi_upload.demo $(if $(ONCE),--once)

demo-django: $(STAMP) $(if $(ONCE),,$(SCRIPT)) ## Run Django, Celery and a gateway, with a page that imports a file. ONCE=1 ends by itself
	@$(BIN)/python -m examples.django_celery.demo $(if $(ONCE),--once)

comments: $(STAMP) clients/node_modules/.synced ## Run a page where people see who is there and each other's comments
	@cd clients && npm run --silent build >/dev/null
	@$(BIN)/python -m examples.comments.serve

cluster: $(STAMP) ## Run three nodes and one Redis behind one address: a node is killed, then Redis, and nothing is lost
	@$(BIN)/python -m bench.show

demo-aws: $(STAMP) ## The same on AWS's parts, run on this machine. ONCE=1 ends by itself, FILE=mine.csv takes your file
	@PYTHONPATH=$(CURDIR) $(BIN)/python examples/aws_parts_upload/demo.py $(if $(ONCE),--once) $(FILE_OPTION)

lambda-layers: $(STAMP) ## Pack the layers of examples/aws_parts_upload, for `sam deploy`. HEIC=1 adds GPL codecs for phones' photos
	@$(BIN)/tellwire package-lambda --layer --out examples/aws_parts_upload/build/tellwire.zip
	@$(BIN)/tellwire package-lambda --layer --out examples/aws_parts_upload/build/workers.zip \
	  --add examples/parts_upload pillow $(if $(HEIC),pillow-heif)

script: $(SCRIPT) ## Build the script with the custom elements, which the gateway serves and a wheel has

$(SCRIPT): $(wildcard $(addprefix clients/,*.json scripts/* */*.json */src/* */src/*/*)) clients/node_modules/.synced
	scripts/clients script

packages: $(STAMP) $(SCRIPT) ## Build the packages for PyPI and npm into dist/
	@scripts/packages

test: $(STAMP) $(NPM_STAMPS) $(PAGE)/dist/.built $(SCRIPT) ## Run the tests, but those that take long
	scripts/clients test
	scripts/test

test-fast: $(STAMP) ## Run what needs no other program: unit tests and contracts with what is in memory
	scripts/test --fast

test-cases: $(STAMP) $(NPM_STAMPS) ## Run the tests of the cases that failed once in the real world
	$(BIN)/python -m scripts.cases

coverage: $(STAMP) $(NPM_STAMPS) $(PAGE)/dist/.built $(SCRIPT) ## Run every test of Python, and tell which branches none went through
	scripts/test --coverage

test-all: $(STAMP) $(NPM_STAMPS) $(PAGE)/dist/.built $(SCRIPT) ## Run every test, as CI does
	scripts/clients test
	scripts/on-python-3.13
	scripts/native test
	scripts/test --all

# What tests need from npm. Without npm these tests are skipped, and fail in CI.
$(NPM_STAMPS): %/node_modules/.synced: %/package.json %/package-lock.json
	@if command -v npm >/dev/null; then \
	  (cd $* && npm ci --loglevel=error --ignore-scripts --no-fund --no-audit >/dev/null) && touch $@; \
	else \
	  echo "make: there is no npm, so the tests that need $* cannot run" >&2; \
	fi

test-unit-3.13: $(STAMP) ## Run the unit tests on Python 3.13
	scripts/on-python-3.13

native: $(STAMP) ## Build the optional fan-out loop in C: a wheel in native/dist
	scripts/native

test-native: $(STAMP) ## Run the tests of all that goes through the loop in C, with it
	scripts/native test

check: $(STAMP) clients/node_modules/.synced $(PAGE)/node_modules/.synced ## Lint, format, types, import layers, words, that spec/ is what the code says, packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m scripts.check_words
	$(BIN)/python -m scripts.export_spec --check
	$(BIN)/python -m scripts.reference --check
	scripts/clients check
	scripts/clients packages
	scripts/clients check $(PAGE)

format: $(STAMP) clients/node_modules/.synced $(PAGE)/node_modules/.synced ## Put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	scripts/clients format
	scripts/clients format $(PAGE)

bench: $(STAMP) ## Measure (about five minutes); see bench/README.md
	$(BIN)/python -m bench $(ARGS)

spec: $(STAMP) ## Write spec/ anew from the code, and the clients' types from spec/
	$(BIN)/python -m scripts.export_spec
	scripts/clients types

reference: $(STAMP) ## Write the tables of docs/reference anew from the code
	$(BIN)/python -m scripts.reference

docs: $(STAMP) ## Build the site of the documentation into site/; links and anchors are checked
	@$(BIN)/python -m scripts.docs_site

tutorial: packages ## Type the tutorial in an empty folder, with the packages of this checkout, and print the time it took
	@$(BIN)/python -m scripts.tutorial

sbom: $(STAMP) ## Write a bill of materials of a gateway (CycloneDX) into dist/, from uv.lock
	@mkdir -p dist
	@.tools/bin/uv export --quiet --frozen --no-default-groups $(addprefix --extra ,gateway redis metrics) \
	  --preview-features sbom-export --format cyclonedx1.5 --output-file dist/tellwire.cdx.json
	@echo "dist/tellwire.cdx.json"

clean: ## Remove what make made
	rm -rf $(VENV) .tools native/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/.build examples/parts_upload/data \
	  examples/aws_parts_upload/build build/docs dist site $(dir $(NPM_STAMPS)) clients/*/dist $(PAGE)/dist $(SCRIPT)
