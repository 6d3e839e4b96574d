"""fit(), the runs that it leaves, and the trained methods they hold."""
