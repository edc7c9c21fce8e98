# Everything starts here: each target first sets up what it needs, so each can be the first command ever typed.
# Set-up is a virtual environment in .venv, filled from the locked files of requirements/ (every file is checked
# against its hash), and for the cluster tests a control plane that is built once into the user's cache.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
# Most of the time of the cluster tests is waiting. Each of the two halves has a control plane of its own.
SIDE_BY_SIDE := --numprocesses 2 --dist loadgroup
ROUNDS ?=
ARGS ?=
IMAGE ?= zenlead:$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' zenlead/__init__.py)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

.PHONY: demo
demo: $(VENV)/.installed-run ## Watch a leader being elected and failing over (ROUNDS=5 ends after five failovers)
	@$(PY) -m zenlead demo $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

.PHONY: run
run: $(VENV)/.installed-run ## Run zenlead against the cluster of your kubeconfig (ARGS="--dry-run ...")
	@$(PY) -m zenlead run $(ARGS)

.PHONY: test
test: $(VENV)/.installed-test build-controlplane ## Run all tests, those on a real API server too
	$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

.PHONY: test-fast
test-fast: $(VENV)/.installed-test ## Run all tests but those that need a real API server
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not cluster" $(ARGS)

.PHONY: lint
lint: $(VENV)/.installed-lint ## Check style, types and the Dockerfile
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/hadolint deploy/Dockerfile

.PHONY: bench
bench: $(VENV)/.installed-test build-controlplane ## Measure zenlead on a real API server (BENCH_ARGS="--services 1000")
	@$(PY) -m benchmarks $(BENCH_ARGS) $(ARGS)

.PHONY: check-prometheus
check-prometheus: $(VENV)/.installed-test build-controlplane ## Let a real Prometheus scrape a real run and answer every query
	@if ! command -v "$${PROMETHEUS:-prometheus}" >/dev/null; then \
	  echo "check-prometheus needs the program prometheus: apt-get install prometheus, or PROMETHEUS=/path/to/it" >&2; \
	  exit 1; \
	fi
	$(PY) -m pytest -s tests/cluster/real_prometheus.py $(ARGS)

.PHONY: dist
dist: $(VENV)/.installed-test ## Build the wheel and the sdist into dist/
	rm -rf dist
	$(PY) -m build --no-isolation --outdir dist
	$(PY) -m twine check --strict dist/*

# The engine is asked whether it is at work: a docker without its daemon is none.
.PHONY: image
image: ## Build the image with docker, podman or buildah (IMAGE=name:tag ARGS="--platform=linux/arm64" ENGINE=podman)
	@engine=; \
	for candidate in $(or $(ENGINE),docker podman buildah); do \
	  if "$$candidate" info >/dev/null 2>&1; then engine="$$candidate"; break; fi; \
	done; \
	if [ -z "$$engine" ]; then \
	  echo "An image needs $(or $(ENGINE),one of docker podman buildah), and none answers here." \
	    "Without one, pytest tests/deploy/test_image.py takes the same steps in a folder." >&2; \
	  exit 1; \
	fi; \
	revision="$$(git rev-parse HEAD 2>/dev/null || true)"; \
	if [ -n "$$revision" ] && ! git diff --quiet HEAD; then revision+=-modified; fi; \
	set -x; \
	"$$engine" build --file deploy/Dockerfile --tag $(IMAGE) --build-arg REVISION="$$revision" \
	  --build-arg CREATED="$$(date --utc +%Y-%m-%dT%H:%M:%SZ)" $(ARGS) .

.PHONY: build-controlplane
build-controlplane: $(VENV)/.ready ## Build kube-apiserver, etcd, helm and the like into the user's cache
	@$(PY) tests/cluster/build.py

.PHONY: lock
lock: $(VENV)/.installed-lock ## Resolve the dependencies anew and write requirements/*.txt
	@compile() { \
	  $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links --no-annotate --upgrade -o requirements/$$1.txt "$${@:2}"; \
	}; \
	compile lint pyproject.toml --extra demo --extra otel --group build --group test --group dist --group lint; \
	compile test pyproject.toml --extra demo --group build --group test --group dist -c requirements/lint.txt; \
	compile run pyproject.toml --extra demo --group build -c requirements/lint.txt; \
	compile image pyproject.toml --extra otel -c requirements/lint.txt; \
	compile build --group build -c requirements/lint.txt; \
	compile audit --group audit -c requirements/lint.txt; \
	compile go --group go; \
	compile lock --group lock

.PHONY: audit
audit: $(VENV)/.installed-audit ## Look the locked dependencies up among known vulnerabilities, where that can be done
	@$(PY) requirements/audit.py $(ARGS)

.PHONY: clean
clean: ## Remove what the targets made in this folder (the caches of the user stay)
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# The first Python that is new enough and can make virtual environments; PYTHON=... decides for all.
# An environment without pip is what an interrupted set-up leaves behind, and is made again.
$(VENV)/.ready:
	@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      echo "Setting up $(VENV) with $$("$$python" --version)"; \
	      "$$python" -m venv --clear $(VENV); \
	      break; \
	    fi; \
	  done; \
	fi; \
	if ! [ -x $(PY) ]; then \
	  echo "zenlead needs Python 3.11 or newer with its venv module (on Debian: python3-venv);" \
	    "none found as python3, python3.13, python3.12 or python3.11. Set PYTHON=/path/to/python." >&2; \
	  exit 1; \
	fi
	@touch $@

# One stamp for each locked set. The package itself is installed in place and without its dependencies.
$(VENV)/.installed-%: requirements/%.txt pyproject.toml | $(VENV)/.ready
	@echo "Installing requirements/$*.txt"
	@$(PIP) --require-hashes -r $<
	@$(if $(filter run test lint,$*),$(PIP) --no-build-isolation --no-deps -e .)
	@touch $@
