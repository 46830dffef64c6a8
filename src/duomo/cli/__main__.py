import sys

from duomo.cli import main

sys.exit(main())
