"""Telemetry: what processes say of themselves, and of what they are about."""
