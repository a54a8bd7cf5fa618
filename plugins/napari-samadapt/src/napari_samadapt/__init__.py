"""samadapt in napari: a thin client of a samadapt server, without torch."""
