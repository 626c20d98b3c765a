"""Ready-made stages: searches that go on with what the searches before them have found out."""
