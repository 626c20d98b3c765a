"""Every side effect: thin functions that load, call the layers below, and record."""
