"""What a network has learned, and what it copies."""
