"""The command line: what is typed becomes a run, a sweep or another job, and an exit status.

It imports everything. Begin with `main`; this file stays empty so that ``--help`` is fast.
"""
