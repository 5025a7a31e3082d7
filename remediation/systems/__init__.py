"""One kind of service a file; found by file name (see `infra.plugins`)."""
