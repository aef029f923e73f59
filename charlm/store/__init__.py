"""The disk: the only room that opens charlm's own files. Bytes, meaning and durability live in different files."""
