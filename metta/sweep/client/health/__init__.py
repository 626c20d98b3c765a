"""Health: what an engineer looks at when something is wrong, one file a kind of check."""
