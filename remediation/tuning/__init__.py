"""Tuning of a running system: apply, measure in pairs, keep or roll back."""
