"""One question per script: how fast, how much memory, beside PyTorch; see ``suite`` for the list.

``minitorch-cnn bench NAME`` or ``python benchmarks/NAME.py`` runs one; ``report`` turns their JSON
files into the README's tables.
"""
