"""One worker or many behind one small interface."""
