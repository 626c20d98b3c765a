"""Stages of durable experiments: the processes that run them, and what is recorded of them."""
