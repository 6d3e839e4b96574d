"""Any video: a map per source and moment, as a film and a table."""
