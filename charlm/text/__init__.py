"""Characters and ids: no files, no network; the only place where characters become integers."""
