"""Start sweeps, attach to them, talk to them, read what they found out."""
