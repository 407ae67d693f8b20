"""What takes longer to build than `make test` may: `make test-fleet` runs it."""
