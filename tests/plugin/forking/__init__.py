"""Applications of several processes, a function each, which tell of each end of the sessions that they make."""
