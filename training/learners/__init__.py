"""Learners know numbers, not operations; they are the only importers of machine-learning frameworks."""
