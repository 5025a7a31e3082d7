"""One file a system or data set; each fills the canonical tables of `features.schema`."""
