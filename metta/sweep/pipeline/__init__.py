"""Pipelines: stages joined by typed contracts, checked before anything runs."""
