"""The prediction API: BentoML under /api/v3/aiops."""
