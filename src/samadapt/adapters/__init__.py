"""Methods of adaptation: `base` defines adapters, and every sub-package is one method."""
