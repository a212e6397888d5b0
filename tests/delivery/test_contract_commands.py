"""The commands about contracts, from the command line through HTTP to the records and back."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
import yaml

from conveyor.cli import main
from conveyor.domain import requests
from conveyor.domain.token import Role
from conveyor.effects.ports import free_port

from .lake import Lake, payments

TOKEN = "a-token-for-tests"
Run = Callable[..., str]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path)
    made.land(
        "a.parquet", payments(range(10)).with_columns(amount=pl.when(pl.col("id") > 7).then(500.0).otherwise(5.0))
    )
    made.settle()
    yield made
    made.close()


@pytest.fixture
def url(lake: Lake) -> Iterator[str]:
    port = free_port()
    script = Path(__file__).parent / "serve.py"
    process = subprocess.Popen([sys.executable, str(script), str(lake.root), str(port), TOKEN])
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/v1/projects")
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("CONVEYOR_URL", url)
    monkeypatch.setenv("CONVEYOR_TOKEN", TOKEN)

    def call(*words: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["conveyor", "data", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said
        return said.out + said.err

    return call


def test_quarantine(run: Run, lake: Lake) -> None:
    (entry,) = lake.held()
    assert run("quarantine", "payments") == run("quarantine", "list", "payments")
    assert run("quarantine", "payments").startswith(f"{entry.name}  a.parquet: 2 rows (amount:max: 2)")
    shown = run("quarantine", "show", "payments", entry.name, "-n", "1").splitlines()
    assert shown[0] == f"{entry.name}  a.parquet: 2 rows held, 1 shown"
    assert shown[1].split() == ["row", "reason", "id", "at", "customer", "amount"]
    assert shown[2].startswith("8    amount = 500.0 must be at most 100  8")
    assert "no row number" in run("quarantine", "release", "payments", entry.name, "--rows", "x", code=1)
    released = run("quarantine", "release", "payments", entry.name, "--rows", "8-8", "--force", "--reason", "a VIP")
    assert "1 row of a.parquet put back as they are" in released
    assert "2 rows" not in run("quarantine", "payments")
    assert "of a.parquet dropped" in run("quarantine", "drop", "payments", entry.name, "--reason", "noise")
    assert "Nothing is in quarantine" in run("quarantine", "payments")
    past = run("quarantine", "list", "payments", "--all")
    assert "released 1 row " in past
    assert "(token admin): a VIP (past the contract)" in past
    assert "(token admin): noise" in past
    assert "no dataset 'nope'" in run("quarantine", "list", "nope", code=1)
    lake.settle()
    assert lake.rows()["id"].to_list() == list(range(9))


def test_infer_export_and_import(run: Run, lake: Lake, tmp_path: Path) -> None:
    inferred = tomllib.loads(run("infer", "payments"))["data"]["payments"]["rules"]
    assert inferred["id"] == {"type": "Int64", "not_null": True, "unique": True}
    assert inferred["amount"] == {"type": "Float64", "not_null": True, "min": 0}
    file = tmp_path / "more.csv"
    payments(range(10)).write_csv(file)
    assert tomllib.loads(run("infer", "payments", "--from", str(file), "--key", "id"))["data"]["payments"]["rules"] == {
        "id": {"type": "Int64", "not_null": True, "unique": True},
        "at": {"type": "Datetime(time_unit='us', time_zone=None)", "not_null": True},
        "customer": {"type": "Int64", "not_null": True, "min": 100, "max": 104},
        "amount": {"type": "Float64", "not_null": True, "min": 0},
    }
    model = tmp_path / "contracts.py"
    assert f"wrote {model}" in run("infer", "payments", "--pandera", "-o", str(model))
    compile(model.read_text(), "contracts.py", "exec")
    contract = tmp_path / "contract.yaml"
    run("contract", "export", "payments", "-o", str(contract))
    document = yaml.safe_load(contract.read_text())
    assert (document["apiVersion"], document["kind"], document["id"]) == ("v3.1.0", "DataContract", "shop/payments")
    section = tomllib.loads(run("contract", "import", str(contract)))["data"]["payments"]
    assert (section["time"], section["key"]) == ("at", "id")
    assert section["rules"]["amount"] == {"type": "Float64", "min": 0, "max": 100}
    contract.write_text(contract.read_text().replace("v3.1.0", "v2.2.0"))
    assert "written in 'v2.2.0' of the standard" in run("contract", "import", str(contract), code=1)
    contract.write_text("a: [1")
    assert "is not YAML" in run("contract", "import", str(contract), code=1)
    assert "cannot be read" in run("contract", "import", str(tmp_path), code=1)


def test_erase(run: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    dry = run("erase", "payments", "--key", "customer=102", "--dry-run")
    assert "2 rows would be taken out of 1 version, 0 out of the quarantine." in dry
    assert "The original bytes of 1 files would be given up with it: a.parquet." in dry
    assert lake.rows().filter(customer=102).height == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("102\n"))
    done = run("erase", "payments", "--key", "customer=-", "--now", "--reason", "asked for it")
    assert "2 rows were taken out of 1 version" in done
    assert "objects were deleted" in done
    assert lake.rows().filter(customer=102).height == 0
    assert "It was erased before; nothing is left of it." in run("erase", "payments", "--key", "customer=102")
    assert "asked for it" in run("erasures", "payments")
    (kept,) = json.loads(run("erasures", "payments", "--json"))
    assert kept["by"].endswith("(token admin)")
    assert "no Int64" in run("erase", "payments", "--key", "customer=x", code=1)
    assert "names no rows" in run("erase", "payments", "--key", "customer", code=1)
    deployer = lake.desk.tokens.create(requests.CreateToken("ci", Role.DEPLOYER)).token
    monkeypatch.setenv("CONVEYOR_TOKEN", deployer)
    assert "needs admin" in run("erase", "payments", "--key", "customer=103", code=1)
    assert "erasure" in run("erasures", "payments")
    assert "needs admin" in run("erasures", "payments", "--lift", kept["id"], code=1)
    monkeypatch.setenv("CONVEYOR_TOKEN", TOKEN)
    assert "is lifted" in run("erasures", "payments", "--lift", kept["id"], "--reason", "back again")
    assert "(token admin): back again" in run("erasures", "payments")
