"""Run the command line as ``python -m neuropyro``."""

from neuropyro.cli import main

if __name__ == "__main__":
    main()
