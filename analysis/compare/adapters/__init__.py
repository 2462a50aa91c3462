"""Ways to bring a method that is no file of baselines/: a file with fit and transform, a folder of embeddings."""
