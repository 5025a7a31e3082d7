"""Detect, diagnose, decide, guard, execute, learn: repairs whose limits hold whatever dies."""
