"""The official checker of registries, which has to be on PATH: `make test-registry` runs it."""
