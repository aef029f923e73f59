"""Predictors: the distribution of the next character after what was read."""
