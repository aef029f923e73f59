"""Text written by a model."""
