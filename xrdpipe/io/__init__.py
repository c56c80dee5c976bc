"""Input and output files: frames of every format, HDF5 and headers; patterns and NeXus files.

The package imports `model`. Begin with `files`, which lists the frames in a file and reads one of them.
"""
