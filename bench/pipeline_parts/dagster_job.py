"""Jobs of so many trivial ops, recorded in Dagster's SQLite, for each count given."""

import sys

from dagster import DagsterInstance, job, op


@op
def step() -> int:
    return 1


def run(count: int) -> None:
    @job(name=f"steps_{count}")
    def steps() -> None:
        for number in range(count):
            step.alias(f"step_{number}")()

    assert steps.execute_in_process(instance=DagsterInstance.get()).success


for word in sys.argv[1:]:
    run(int(word))
