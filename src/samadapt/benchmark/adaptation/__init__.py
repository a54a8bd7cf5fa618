"""The adaptation benchmark: frozen against adapting, over datasets, adapters, seeds and orders."""
