"""Bytes and durability: atomic writes, locks, strict JSON, checked tensors. Knows no model."""
