"""Runner processes: they execute trials, and whatever happens in one of them stays there."""
