"""The command line: arguments become a run, a sweep or another command, and an exit status.

This package imports all others. Begin with `main`. This file imports nothing so that ``--help`` is fast.
"""
