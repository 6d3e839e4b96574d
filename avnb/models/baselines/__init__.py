"""Systems that stand beside the five methods in their papers' tables."""
