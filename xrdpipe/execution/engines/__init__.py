"""Engines: frames in this process, in threads, in processes, on Dask, in array jobs of Slurm.

Begin with `engine`: the interface, and the table in which `parallel.backend` finds its class.
"""
