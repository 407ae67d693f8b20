"""The budgets of the design, each beside its peer in the same run: `make bench`."""
