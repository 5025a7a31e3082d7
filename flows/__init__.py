"""Prefect flows and the `aiops` program: they orchestrate and compute nothing."""
