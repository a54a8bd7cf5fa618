"""Methods of adaptation: `base` says what an adapter is, every sub-package is one method."""
