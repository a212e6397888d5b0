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
from conveyor.serving.batch import BatchReader
from conveyor.serving.model import LoadedModel
from conveyor.serving.protocol import InferRequest, InferResponse, OutputTensor, encode, parse


class Answer(NamedTuple):
    """`skew`: rule -> rows of the request that break it."""

    prediction: Prediction
    body: bytes
    skew: dict[str, int]


class Inference:
    """Scores bodies with one model. `answer` may be called from several threads."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        named = frozenset({model.input_name, *(tensor.name for tensor in model.manifest.signature.inputs)})
        self._reader = BatchReader(model.manifest.signature, named)
        self._skew = Skew(model.manifest.signature.features, model.manifest.rules)
        # Ids are unique over processes and restarts by the prefix, inside this process by the counter.
        self._prefix = os.urandom(8).hex()
        self._count = itertools.count(1)
        self._version = str(model.version)

    def answer(self, body: bytes, *, at: float, mark: str = "") -> Answer:
        """`at`: wall clock, seconds since the epoch. Raises InputRejected when a request cannot be scored."""
        request = parse(body)
        wanted = self._wanted(request)
        batch = self._reader.read(request.inputs)
        outputs = self._model.run(batch.features)
        prediction = Prediction(
            id=request.id or f"{self._prefix}-{next(self._count):x}",
            at=at,
            model=self._model.name,
            version=self._model.version,
            rows=len(batch.features),
            features=batch.features.tobytes(),
            scores=self._model.scores(outputs).tobytes(),
            keys=batch.keys,
            times=batch.times,
            mark=mark,
        )
        tensors = [self._tensor(number, outputs[number]) for number in wanted]
        response = InferResponse(self._model.name, self._version, prediction.id, tensors)
        return Answer(prediction, encode(response), self._skew.broken(batch.features))

    def _wanted(self, request: InferRequest) -> list[int]:
        names = self._model.output_names
        if not request.outputs:
            return list(range(len(names)))
        unknown = [output.name for output in request.outputs if output.name not in names]
        if unknown:
            raise InputRejected(f"the model gives no output '{unknown[0]}'", hint=f"its outputs are {', '.join(names)}")
        return [names.index(output.name) for output in request.outputs]

    def _tensor(self, number: int, output: NDArray[np.generic]) -> OutputTensor:
        declared = self._model.outputs[number]
        return OutputTensor(declared.name, list(output.shape), declared.datatype, output.ravel().tolist())
