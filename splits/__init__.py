"""Which images exist and who may see them when: one file per data source, one store for all of them."""
