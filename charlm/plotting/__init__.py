"""PICTURES: the only place where matplotlib is used."""
