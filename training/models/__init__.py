"""One file a model, ignorant of each other; found by file name (see `infra.plugins`)."""
