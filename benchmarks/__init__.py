"""Benchmarks of xrdpipe: asv suites (`time_*.py`), and a comparison with other programs (`peers`)."""
