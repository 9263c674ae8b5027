"""`python -m worldeval`: the command where its script is not on the path."""

from worldeval.cli import main

if __name__ == "__main__":
    main()
