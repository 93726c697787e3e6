"""Training scripts as users have them: only their import lines were changed."""
