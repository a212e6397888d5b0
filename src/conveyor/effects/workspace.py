"""A step with files at their paths works in a copy of its build's tree: `python -I -S workspace.py SPEC`.

    SPEC   {tree, place: {path: file}, workdir, argv, out, collect: [path]}

Copies the tree into the current folder's `tree`, puts files of earlier steps at their paths, runs `argv` there, and
copies what the step made into `out`. The build's own tree is never written to. Standard library only.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def main(spec: dict[str, Any]) -> int:
    tree, out = Path("tree").resolve(), Path(spec["out"])
    shutil.copytree(spec["tree"], tree, symlinks=True)
    for path, source in spec["place"].items():
        place = tree / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    for path in spec["collect"]:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
    code = subprocess.run(spec["argv"], cwd=tree / spec["workdir"], check=False).returncode
    if code:
        return code if code > 0 else 128 - code
    missing = [path for path in spec["collect"] if not (tree / path).exists()]
    if missing:
        error = {"message": f"it did not make {', '.join(missing)}", "hint": "Mend its command, or its outs."}
        (out / "error.json").write_text(json.dumps(error))
        return 1
    for path in spec["collect"]:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        if (tree / path).is_dir():
            shutil.copytree(tree / path, out / path, dirs_exist_ok=True)
        else:
            shutil.copyfile(tree / path, out / path)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_bytes())))
