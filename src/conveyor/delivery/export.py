"""A model version for elsewhere: its card with plots, and a zip that a model server and onnxruntime load as it is."""

from __future__ import annotations

import zipfile
from pathlib import Path

from conveyor.delivery import attest
from conveyor.delivery.draw import drawn
from conveyor.domain import card, wire
from conveyor.domain.model import ModelManifest, ModelVersion
from conveyor.domain.project import CardConfig
from conveyor.engine.context import Context
from conveyor.errors import Conflict, ConveyorError
from conveyor.stores.collections import BUILDS, RUNS, VERIFICATIONS

_HOLDOUT = "holdout.parquet"


def plots(context: Context, version: ModelVersion) -> dict[str, str]:
    """SVG by name; none for a regression, or once the rows of the holdout are gone."""
    with context.records.read() as tx:
        run = tx.get(RUNS, version.run)
    digest = next((step.outputs[_HOLDOUT] for step in run.steps if _HOLDOUT in step.outputs), "") if run else ""
    if not digest or not context.objects.has(digest):
        return {}
    return drawn(context.objects.path(digest))


def markdown(context: Context, version: ModelVersion, names: tuple[str, ...] = ()) -> str:
    """The card; `names` are plots that lie beside it."""
    with context.records.read() as tx:
        run = tx.get(RUNS, version.run)
        build = tx.get(BUILDS, run.params.get("build", "")) if run else None
        verified = tx.get(VERIFICATIONS, version.id)
    config = build.config.models.get(version.name) if build else None
    manifest = None
    if "model.json" in version.artifact:
        try:
            manifest = wire.from_json(context.objects.get(version.artifact["model.json"]), ModelManifest)
        except ConveyorError:
            manifest = None  # a damaged version has a card too; its status says so
    return card.card(version, config.card if config else CardConfig(), manifest, verified, names)


def export(context: Context, version: ModelVersion, target: Path) -> None:
    """Artifact, card, plots, provenance and the key that proves it. Only bytes that verify are given away."""
    if problem := attest.problem(context, version):
        raise Conflict(
            f"{version.id} cannot be exported: {problem}", hint=f"`conveyor model verify {version.name}` says more."
        )
    pictures = plots(context, version)
    with zipfile.ZipFile(target, "w") as archive:
        for name, digest in sorted(version.artifact.items()):
            archive.write(context.objects.path(digest), name)
        archive.writestr("README.md", markdown(context, version, tuple(pictures)), zipfile.ZIP_DEFLATED)
        for name, svg in pictures.items():
            archive.writestr(name, svg, zipfile.ZIP_DEFLATED)
        if version.provenance:
            archive.writestr("provenance.dsse.json", context.objects.get(version.provenance), zipfile.ZIP_DEFLATED)
            archive.writestr("conveyor.pub", attest.signer(context.settings).public(), zipfile.ZIP_DEFLATED)
