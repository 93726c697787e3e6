"""``minitorch-cnn kernels``: read the kernels, and run the CUDA ones without a GPU."""
