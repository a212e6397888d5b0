"""Flows of so many trivial tasks, recorded by Prefect's own server, for each count given."""

import sys

from prefect import flow, task


@task
def step(number: int) -> int:
    return number


@flow
def steps(count: int) -> None:
    for number in range(count):
        step(number)


for word in sys.argv[1:]:
    steps(int(word))
