# Two commands set everything up on a fresh Debian or Ubuntu machine, as root: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# What the agent needs, what the tests besides
PACKAGES := python3-bpfcc python3-venv
TEST_PACKAGES = libbpf-tools iproute2 nftables openssl $(LIBPYTHON)
# What Rotel, the collector to test against where there is no Go, is linked with; other Pythons bring their own
LIBPYTHON = $(shell $(PYTHON) -c 'import sys; v = sys.version_info; \
    print(f"libpython{v[0]}.{v[1]}" if sys.base_prefix == "/usr" else "")')

.PHONY: run test setup setup-test lint bench clean

run: setup ## trace this host until Ctrl-C, with ARGS as options
	$(BIN)/otel-tcplife $(ARGS)

test: setup-test lint ## everything that proves the project
	$(BIN)/pytest

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup-test ## the budgets, each beside its peer
	@$(call apt,gcc libc6-dev)
	$(BIN)/python -m tests.benchmarks

setup: $(VENV)/installed
	@$(call apt,$(PACKAGES))

setup-test: setup $(VENV)/installed-test
	@$(call apt,$(TEST_PACKAGES))

$(VENV)/installed: pyproject.toml
	@$(call apt,$(PACKAGES))
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@

# Install the Debian packages of a list that are missing; elsewhere, say what to install
define apt
missing=$$(for package in $(1); do \
    dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; done); \
if [ -n "$$missing" ]; then \
    command -v apt-get >/dev/null || { echo "install the equivalents of these packages: $$missing" >&2; exit 1; }; \
    $(SUDO) apt-get update --quiet --quiet && \
    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends $$missing; \
fi
endef

clean:
	rm -rf $(VENV) dist
