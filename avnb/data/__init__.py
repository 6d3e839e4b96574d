"""Benchmarks, their on-disk format, and the mixtures made from them."""
