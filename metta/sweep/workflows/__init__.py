"""Durable workflows: deterministic, without user code and without work for the CPU."""
