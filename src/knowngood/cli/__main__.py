"""`python -m knowngood.cli`: the command line where the script is not on the path."""

from knowngood.cli import main

main()
