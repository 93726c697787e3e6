"""Looking at models and machines: summary, training loop, doctor."""
