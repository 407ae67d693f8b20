"""The project in the user spaces of other distributions, on the kernel of this host."""
