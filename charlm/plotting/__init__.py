"""Pictures of losses and of hidden units. The only package that imports matplotlib."""
