"""`conveyor data infer` and `conveyor data contract`: rules from rows, and contracts as ODCS documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say
from conveyor.domain import contract_text, odcs, odcs_reader
from conveyor.domain.contract import Rule, inline_of, rules_of
from conveyor.errors import InputRejected

app = typer.Typer(help="Contracts as documents of the Open Data Contract Standard.", no_args_is_help=True)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Out = Annotated[Path | None, typer.Option("-o", "--output", help="Write it into this file.")]
_LARGEST = 4_000_000  # bytes of a document


def infer(
    name: str,
    files: Annotated[list[Path] | None, typer.Option("--from", help="Files instead of the newest version.")] = None,
    key: Annotated[str, typer.Option(help="The column that identifies a row; for --from.")] = "",
    time: Annotated[str, typer.Option(help="The column with the event time; for --from.")] = "",
    pandera: Annotated[bool, typer.Option("--pandera", help="A Pandera (Polars) model instead of rules.")] = False,
    output: Out = None,
    project: Project = "",
) -> None:
    """Write rules that fit the rows there are. Example: conveyor data infer transactions --from 2018-04-01.parquet"""
    if files:
        contract = _of_files(name, files, key or None, time or None)
    else:
        client = lifecycle.client()
        contract = client.inferred_contract(client.project(project), name)
    rules = rules_of(contract.rules)
    if pandera:
        _write(contract_text.pandera(name, rules, contract.schema), output)
    else:
        _write(contract_text.toml(name, rules), output)


@app.command("export")
def export(name: str, output: Out = None, project: Project = "") -> None:
    """Write a contract as ODCS v3.1.0. Example: conveyor data contract export transactions -o contract.yaml"""
    client = lifecycle.client()
    contract = client.contract(client.project(project), name)
    _write(yaml_of(odcs.document(contract)), output)


@app.command("import")
def import_(file: Path, output: Out = None) -> None:
    """Print a contract of ODCS v3.1.0 as inline rules. Example: conveyor data contract import contract.yaml"""
    found = odcs_reader.read(_document(file))
    _write("\n".join(_section(each) for each in found), output)
    for each in found:
        for what in each.unsaid:
            sys.stderr.write(f"not expressed: {what}\n")


def yaml_of(document: dict[str, Any]) -> str:
    """Letters as they are; all escaped where PyYAML would write line separators that it reads back as blanks."""
    import yaml

    plain = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    odd = any(separator in plain for separator in ("\x85", "\u2028", "\u2029"))
    return yaml.safe_dump(document, sort_keys=False, width=120) if odd else plain


def _section(found: odcs_reader.Imported) -> str:
    lines = [f"[data.{contract_text.toml_key(found.name)}]"]
    pairs = (("time", found.time), ("key", found.key), ("contract", found.model))
    lines += [f"{word} = {contract_text.toml_value(value)}" for word, value in pairs if value]
    rules: tuple[Rule, ...] = found.rules
    return "\n".join(lines) + "\n" + (f"\n{contract_text.toml(found.name, rules)}" if rules else "")


def _of_files(name: str, files: list[Path], key: str | None, time: str | None) -> odcs.Contract:
    import polars as pl

    from conveyor.domain.step import IngestFile
    from conveyor.sdk import reading, schema
    from conveyor.sdk.infer import infer as rules_from

    tables = [reading.read(IngestFile(str(file), file.name)) for file in files]
    try:
        table = pl.concat(tables, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InputRejected(
            f"the files do not have the same columns: {error}", hint="Infer from files of one kind."
        ) from error
    rules = rules_from(table.lazy(), key=key, time=time)
    return odcs.Contract("", name, inline_of(rules), key, time, None, schema.describe(table.schema))


def _document(file: Path) -> Any:
    import yaml

    try:
        if file.stat().st_size > _LARGEST:
            raise InputRejected(f"{file} is too large for a contract", hint="A contract is a few kilobytes of YAML.")
        return yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputRejected(f"{file} cannot be read as text", hint="Give the path of a YAML file.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputRejected(f"{file} is not YAML: {' '.join(str(error).split())[:200]}", hint="Mend it.") from error


def _write(text: str, output: Path | None) -> None:
    if output is None:
        say(text.rstrip("\n"))
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise InputRejected(f"{output} cannot be written: {error.strerror}", hint="Give another path.") from error
    say(f"wrote {output}")
