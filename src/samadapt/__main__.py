"""`python -m samadapt` is `samadapt`."""

from samadapt.cli import main

if __name__ == "__main__":
    main()
