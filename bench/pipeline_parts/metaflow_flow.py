"""Flows of so many trivial steps with Metaflow's local metadata, for each count given."""

import subprocess
import sys
import tempfile
from pathlib import Path

HEAD = "from metaflow import FlowSpec, step\n\n\nclass Steps(FlowSpec):\n"
STEP = "    @step\n    def {name}(self):\n        {body}\n\n"

for word in sys.argv[1:]:
    names = ["start", *(f"s{number}" for number in range(int(word) - 2)), "end"]
    nexts = [f"self.next(self.{name})" for name in names[1:]] + ["pass"]
    text = HEAD + "".join(STEP.format(name=n, body=b) for n, b in zip(names, nexts, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flow.py"
        path.write_text(text + '\nif __name__ == "__main__":\n    Steps()\n')
        subprocess.run([sys.executable, path, "run"], cwd=folder, check=True, capture_output=True)
