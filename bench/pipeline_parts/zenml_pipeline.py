"""Pipelines of so many trivial steps on ZenML's default local stack, for each count given."""

import sys

from zenml import pipeline, step


@step(enable_cache=False)
def one() -> int:
    return 1


def run(count: int) -> None:
    @pipeline(name=f"steps_{count}", enable_cache=False)
    def steps() -> None:
        for number in range(count):
            one(id=f"step_{number}")

    steps()


for word in sys.argv[1:]:
    run(int(word))
