"""One notification channel a file; found by file name (see `infra.plugins`)."""
