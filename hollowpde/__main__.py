"""`python -m hollowpde`."""

from hollowpde.cli import main

if __name__ == "__main__":
    main()
