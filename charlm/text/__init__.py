"""Characters: pure, and the only place where characters meet integers."""
