"""Wrong programs are only read by type checkers; right ones are imported too, and so have to be right."""

collect_ignore_glob = ["wrong/*"]
