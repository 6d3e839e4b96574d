"""One definition of each number, for every method."""
