"""One function per op, on arrays: what it computes and where its gradient goes."""
