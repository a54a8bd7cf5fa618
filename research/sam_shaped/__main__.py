"""`python -m research.sam_shaped` is `samadapt` with one more family of models."""

import research.sam_shaped  # noqa: F401 - registers the family
from samadapt.cli import main

if __name__ == "__main__":
    main()
