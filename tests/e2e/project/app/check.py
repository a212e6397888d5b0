"""The service's test: long enough for something to happen meanwhile."""

import time

from trace_file import traced

import app

with traced("test"):
    assert app.VERSION
    time.sleep(1)
