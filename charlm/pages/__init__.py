"""PAGES: what a model makes of a text as one HTML file, which needs no network and no other file."""
