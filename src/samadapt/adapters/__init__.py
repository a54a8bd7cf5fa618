"""Methods of adaptation: `base` defines adapters; every sub-package is one method."""
