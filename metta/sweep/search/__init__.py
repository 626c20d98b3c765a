"""Where decisions are made: optimizer, scheduler and budget over a ledger."""
