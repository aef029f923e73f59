"""Training: the loop, what rank 0 decides around it, and the life of a run from its configuration to its report."""
