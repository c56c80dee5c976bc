"""How fast xrdpipe is: asv suites (`time_*.py`) and `python -m benchmarks.peers` against other programs."""
