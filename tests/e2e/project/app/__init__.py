"""A service of the standard library only; the tests push changes of it."""

VERSION = "1"


def answer() -> tuple[int, str]:
    return 200, VERSION
