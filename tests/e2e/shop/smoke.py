"""The smoke test: one page that reads the database."""

import os
import sys
import urllib.error
import urllib.request

try:
    urllib.request.urlopen(f"{os.environ['CONVEYOR_URL']}/orders", timeout=10).read()
except urllib.error.HTTPError as error:
    sys.exit(f"GET /orders answered {error.code}")
