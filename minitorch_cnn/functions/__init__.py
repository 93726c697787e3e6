"""PyTorch's ``torch.*`` functions over ``ops``: argument order, type promotion, checks."""
