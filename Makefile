# Two commands set everything up on a fresh Debian or Ubuntu machine, as root: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# What the agent needs, what the tests besides
PACKAGES := python3-bpfcc python3-venv
TEST_PACKAGES = libbpf-tools iproute2 nftables openssl $(LIBPYTHON)
# Real servers and clients to trace, each started by its test alone
TEST_PACKAGES += curl nginx openssh-client openssh-server postgresql redis-server redis-tools
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

# Install the Debian packages of a list that are missing, without starting or enabling a service of theirs; elsewhere,
# say what to install
define apt
missing=$$(for package in $(1); do \
    dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; done); \
if [ -n "$$missing" ]; then \
    command -v apt-get >/dev/null || { echo "install the equivalents of these packages: $$missing" >&2; exit 1; }; \
    policy=/usr/sbin/policy-rc.d; \
    if [ ! -e $$policy ]; then \
        trap '$(SUDO) rm -f /usr/sbin/policy-rc.d' EXIT; \
        printf '#!/bin/sh\nexit 101\n' | $(SUDO) tee $$policy >/dev/null; $(SUDO) chmod +x $$policy; \
    fi; \
    $(SUDO) apt-get update --quiet --quiet && \
    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends $$missing && \
    for package in $$missing; do \
        case $$package in nginx|redis-server|postgresql) unit=$$package;; openssh-server) unit=ssh;; *) continue;; esac; \
        $(SUDO) systemctl disable --quiet $$unit 2>/dev/null || true; \
    done; \
fi
endef

clean:
	rm -rf $(VENV) dist
