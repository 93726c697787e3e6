"""The lecture's arguments as experiments: each one command, seeded, resumable, with a figure."""
