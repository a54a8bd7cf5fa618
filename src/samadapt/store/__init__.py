"""Storage: the cache of embeddings, and projects with their event logs and objects."""
