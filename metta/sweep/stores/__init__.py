"""Artifact stores, and the ledger of a sweep on top of them."""
