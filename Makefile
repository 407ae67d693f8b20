# Two commands set everything up on a fresh Debian or Ubuntu machine, as root: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# What the agent needs, what the tests besides
PACKAGES := python3-bpfcc python3-venv
TEST_PACKAGES = libbpf-tools iproute2 nftables openssl $(LIBPYTHON)
# The service manager that runs the unit file, in namespaces of its own
TEST_PACKAGES += systemd
# Real servers and clients to trace, each started by its test alone
TEST_PACKAGES += curl nginx openssh-client openssh-server postgresql redis-server redis-tools
# What Rotel, the collector to test against where there is no Go, is linked with; other Pythons bring their own
LIBPYTHON = $(shell $(PYTHON) -c 'import sys; v = sys.version_info; \
    print(f"libpython{v[0]}.{v[1]}" if sys.base_prefix == "/usr" else "")')

C_FILES = bpf/tcplife.bpf.c bpf/*.h

.PHONY: help run test test-unit test-fleet test-registry test-kernels test-userspaces test-all lint lint-python lint-types lint-c format bench soak outage setup setup-test clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: setup ## trace this host until Ctrl-C, with ARGS as options
	$(BIN)/otel-tcplife $(ARGS)

# Of scope host one process of a host traces, which these tests need to be none of another test; and providers of an
# application take some thousands of sessions at once, of which other tests make more
ALONE = tests/plugin/test_host_scope.py tests/plugin/test_own_exporters.py

# The rest in three parts side by side, as most of the time is waiting; what the others have said is shown at the end
test: setup-test ## everything that proves the project, as root
	@$(BIN)/pytest $(ALONE); failed=$$?; \
	$(MAKE) --no-print-directory lint test-unit >$(VENV)/unit.log 2>&1 & unit=$$!; \
	$(BIN)/pytest tests/distros tests/plugin $(addprefix --ignore=,$(ALONE)) >$(VENV)/plugin.log 2>&1 & plugin=$$!; \
	$(BIN)/pytest tests/backends tests/collector tests/faults tests/live || failed=$$?; \
	wait $$plugin || failed=$$?; cat $(VENV)/plugin.log; \
	wait $$unit || failed=$$?; cat $(VENV)/unit.log; \
	exit $$failed

test-unit: $(VENV)/installed-test ## the tests that need no root
	$(BIN)/pytest tests/unit

lint: lint-python lint-types lint-c ## check style and types; like test-unit and format, installs with pip alone

lint-python: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-types: $(VENV)/installed-test
	$(BIN)/pyright

lint-c: $(VENV)/installed-test
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

format: $(VENV)/installed-test ## format Python and C, and mend what ruff can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

test-fleet: setup-test ## what takes longer to build than `make test` may: another Collector, Prometheus
	$(BIN)/pytest tests/fleet

test-registry: setup-test ## the checker of semantic conventions, weaver, on docs/registry/; it has to be on PATH
	$(BIN)/pytest tests/weaver

# Of Debian's kernels, the newest of these versions is run; of its user spaces, bookworm or trixie
KERNELS ?= 5.10 6.1 6.12 6.16 7.3
ARCH ?= $(if $(filter aarch64,$(shell uname -m)),arm64,amd64)
SUITE ?= bookworm
STEPS ?=
KERNEL_PACKAGES = mmdebstrap arch-test debian-archive-keyring e2fsprogs kmod cpio xz-utils zstd
KERNEL_PACKAGES += $(if $(filter arm64,$(ARCH)),qemu-system-arm,qemu-system-x86)

test-kernels: setup-test ## the tests on other kernels, in virtual machines; KERNELS="5.10 6.1", ARCH=arm64, SUITE=trixie
	@$(call apt,$(KERNEL_PACKAGES))
	$(BIN)/python -m tests.kernels --arch $(ARCH) --suite $(SUITE) $(if $(STEPS),--steps $(STEPS)) $(KERNELS)

SUITES ?= trixie

test-userspaces: setup-test ## README's two commands in bare Debians and Ubuntus; SUITES="trixie noble", UBUNTU_MIRROR=URL
	@$(call apt,mmdebstrap debian-archive-keyring git)
	$(BIN)/python -m tests.userspaces $(if $(STEPS),--steps $(STEPS)) $(SUITES)

test-all: test test-fleet test-kernels test-userspaces soak ## all of these, which takes hours

bench: setup-test ## the budgets, each beside its peer
	@$(call apt,gcc libc6-dev)
	$(BIN)/python -m tests.benchmarks

SECONDS ?= 1200

soak: setup-test ## hours of sessions with a receiver that goes and comes back; SECONDS=3600
	$(BIN)/python -m tests.faults.soak $(SECONDS)

outage: setup-test ## what an outage of the receiver costs, and what the spool does
	$(BIN)/python -m tests.faults.outage

# A make of its own makes the environment, as it is only then that the packages are there; linting does without them
setup: ## install what the command needs, with apt and pip
	@$(call apt,$(PACKAGES))
	@$(MAKE) --no-print-directory $(VENV)/installed

setup-test: setup ## install what the tests need
	@$(call apt,$(TEST_PACKAGES))
	@$(MAKE) --no-print-directory $(VENV)/installed-test

$(VENV)/installed: pyproject.toml
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

clean: ## remove the environment
	rm -rf $(VENV) dist
