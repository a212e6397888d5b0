"""One inference request: from its body to the answer's bytes and the observation that is logged."""

from __future__ import annotations

import itertools
import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from conveyor.domain.observation import Prediction
from conveyor.domain.skew import Skew
from conveyor.errors import InputRejected
from conveyor.serving import binary, scoring
from conveyor.serving.batch import Batch, BatchReader
from conveyor.serving.model import LoadedModel
from conveyor.serving.protocol import BinarySize, InferRequest, InferResponse, OutputTensor, encode, parse
from conveyor.serving.redaction import NOTHING, Redaction

Outputs = list[NDArray[np.generic]]
_NONE: frozenset[int] = frozenset()


class Answer(NamedTuple):
    """`skew`: rule -> rows of the request that break it. `header`: whole lines; empty: the body is JSON."""

    prediction: Prediction
    body: bytes
    skew: dict[str, int]
    header: bytes = b""


class Scored(NamedTuple):
    """`wanted`: which of the `outputs` are asked for, in this order."""

    prediction: Prediction
    outputs: Outputs
    wanted: list[int]
    skew: dict[str, int]


class Inference:
    """Scores requests with one model. All that is public may be called from several threads."""

    def __init__(self, model: LoadedModel, redaction: Redaction = NOTHING) -> None:
        self._redaction = redaction
        self._model = model
        self._matrix_names = frozenset({model.input_name, *(tensor.name for tensor in model.manifest.signature.inputs)})
        self._reader = BatchReader(model.manifest.signature, self._matrix_names)
        self._skew = Skew(model.manifest.signature.features, model.manifest.rules)
        # Ids are unique over processes and restarts by the prefix, inside this process by the counter.
        self._prefix = os.urandom(8).hex()
        self._count = itertools.count(1)
        self._version = str(model.version)

    def answer(self, body: bytes, *, at: float, mark: str = "", length: bytes | None = None) -> Answer:
        """The Open Inference Protocol. `at`: wall clock, seconds since the epoch. `length`: of the JSON, when binary
        tensors follow it. Raises InputRejected when a request cannot be scored."""
        request = parse(body, length)
        prediction, outputs, wanted, skew = self.score(request, at, mark)
        if sent := self._binary(request, wanted):
            return self._with_bytes(prediction, outputs, wanted, sent, skew)
        tensors = [self._tensor(number, outputs[number]) for number in wanted]
        response = InferResponse(self._model.name, self._version, prediction.id, tensors)
        return Answer(prediction, encode(response), skew)

    def score(self, request: InferRequest, at: float, mark: str) -> Scored:
        """Raises InputRejected when it cannot be scored."""
        wanted = self._wanted(request)
        batch = self._reader.read(request.inputs)
        outputs = self._model.run(batch.features)
        prediction = self._prediction(batch, outputs, request.id, at, mark)
        return Scored(prediction, outputs, wanted, self._skew.broken(batch.features))

    def invoke(self, body: bytes, *, at: float, mark: str = "", length: bytes | None = None) -> Answer:
        """MLflow's scoring protocol; it has no binary tensors, so no `length`. Raises InputRejected."""
        request, params = scoring.parse(body)
        number = self._number(params.output) if params.output is not None else 0
        batch = scoring.rows_of(request, self._reader, self._matrix_names)
        outputs = self._model.run(batch.features)
        prediction = self._prediction(batch, outputs, params.id, at, mark)
        found = outputs[number]
        found = found.ravel() if found.ndim == 2 and found.shape[1] == 1 else found
        header = b"content-type: application/json\r\n"
        if params.id is None:  # MLflow's answer has no place for it, and labels need it
            header += f"x-conveyor-prediction: {prediction.id}\r\n".encode()
        answer = encode(scoring.ScoringResponse(found.tolist()))
        return Answer(prediction, answer, self._skew.broken(batch.features), header)

    def _prediction(self, batch: Batch, outputs: Outputs, id_: str | None, at: float, mark: str) -> Prediction:
        return Prediction(
            id=id_ or f"{self._prefix}-{next(self._count):x}",
            at=at,
            model=self._model.name,
            version=self._model.version,
            rows=len(batch.features),
            features=self._redaction.features(batch.features).tobytes(),
            scores=self._model.scores(outputs).tobytes(),
            keys=() if self._redaction.keys else batch.keys,
            times=batch.times,
            mark=mark,
        )

    def _wanted(self, request: InferRequest) -> list[int]:
        if not request.outputs:
            return list(range(len(self._model.output_names)))
        for output in request.outputs:
            given = output.parameters
            if given is not None and (given.classification or given.shared_memory_region is not None):
                raise InputRejected(
                    f"output '{output.name}' is asked for by classification or shared memory",
                    hint="neither is offered; ask for the output as JSON or as binary data",
                )
        names = [output.name for output in request.outputs]
        if len(set(names)) < len(names):  # a small request could ask for an answer without bounds
            raise InputRejected("an output is asked for more than once", hint="name each output once")
        return [self._number(name) for name in names]

    def _number(self, name: str) -> int:
        names = self._model.output_names
        if name not in names:
            raise InputRejected(f"the model gives no output '{name}'", hint=f"its outputs are {', '.join(names)}")
        return names.index(name)

    def _binary(self, request: InferRequest, wanted: list[int]) -> frozenset[int]:
        """The outputs that the client wants as bytes."""
        every = request.parameters is not None and request.parameters.binary_data_output
        if not request.outputs:
            return frozenset(wanted) if every else _NONE
        chosen = [output.parameters.binary_data if output.parameters else None for output in request.outputs]
        return frozenset(number for number, one in zip(wanted, chosen, strict=True) if (every if one is None else one))

    def _with_bytes(
        self, prediction: Prediction, outputs: Outputs, wanted: list[int], sent: frozenset[int], skew: dict[str, int]
    ) -> Answer:
        """JSON, and behind it the bytes of the outputs in `sent`, in the order of the outputs."""
        tensors: list[OutputTensor] = []
        parts: list[bytes] = []
        for number in wanted:
            if number not in sent:
                tensors.append(self._tensor(number, outputs[number]))
                continue
            declared, output = self._model.outputs[number], outputs[number]
            part = binary.write(output, declared.datatype)
            size = BinarySize(len(part))
            tensors.append(OutputTensor(declared.name, list(output.shape), declared.datatype, parameters=size))
            parts.append(part)
        head = encode(InferResponse(self._model.name, self._version, prediction.id, tensors))
        header = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % len(head)
        return Answer(prediction, b"".join([head, *parts]), skew, header)

    def _tensor(self, number: int, output: NDArray[np.generic]) -> OutputTensor:
        declared = self._model.outputs[number]
        return OutputTensor(declared.name, list(output.shape), declared.datatype, output.ravel().tolist())
