"""Engines process frames: in this process, in threads, in processes, on Dask or in array jobs of Slurm.

Begin with `engine`. It holds the interface and the table that maps `parallel.backend` to a class.
"""
