"""Background, mask by median and integration on a CUDA GPU.

`kernels` runs on the GPU, `limits` decides on the processor what is an outlier, and `device.Device`, which holds the
arrays, is what stages see. The package imports numba's CUDA target, so import it only when a GPU is asked for.
"""
