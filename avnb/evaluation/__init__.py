"""What a method is asked on a benchmark, and the rows that come of it."""
