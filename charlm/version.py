"""The version, written once: setup.cfg, checkpoints and `charlm --version` read it here."""

__version__ = "0.1.0"
