"""What lasts: the cache of embeddings, and projects with their log of events and their objects."""
