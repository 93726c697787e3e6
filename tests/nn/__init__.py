"""Tests of minitorch_cnn.nn; PyTorch's torch.nn is the oracle."""
