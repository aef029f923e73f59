"""From files to ids: reading, cleaning, encoding and caching a text."""
