"""One action a file; found by file name (see `infra.plugins`)."""
