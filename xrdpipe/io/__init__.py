"""Files: frames of every format, HDF5 and headers that are read; patterns and NeXus files that are written.

It imports `model`. Begin with `files`: which frames are in a file, and how one of them is read.
"""
