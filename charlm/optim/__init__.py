"""How parameters move: this room knows named arrays, not networks."""
