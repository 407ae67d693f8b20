"""Tests that run in a virtual machine alone, as they change what all of a host depends on."""
