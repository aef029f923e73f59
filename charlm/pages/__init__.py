"""HTML pages of what a model predicts and what its units do: one file each, which loads nothing else."""
