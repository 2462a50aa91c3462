"""Ways to bring a method that is no file of baselines/: one with `transform`, a folder of embeddings."""
