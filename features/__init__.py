"""Records to features: sources fill canonical tables, pure transforms make features, Feast serves them."""
