"""`python -m alttrain_cli` is the console script `alttrain`."""

from alttrain_cli.cli import main

main()
