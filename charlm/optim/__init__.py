"""How parameters move: optimizers, clipping, schedules. They work on named arrays and know no network."""
