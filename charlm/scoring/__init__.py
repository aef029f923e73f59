"""Negative log-likelihood of given texts."""
