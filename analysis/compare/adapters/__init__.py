"""Ways to bring a method that is no file of baselines/: one with fit and transform, a folder of embeddings."""
