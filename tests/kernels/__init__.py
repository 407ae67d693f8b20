"""The tests on other kernels than this machine's, each in a virtual machine of its own: `make test-kernels` runs it."""
