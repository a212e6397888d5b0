"""The messages of the Open Inference Protocol over gRPC, made when they are asked for.

Specification: kserve/open-inference-protocol, "open_inference_grpc.proto", and Triton's "extension_model_repository".
Only numbers and types of fields are on the wire. So a nested message stands beside the others here, a map is a list of
its entries, and a choice between fields is all of them.
"""

from __future__ import annotations

from typing import Any

SERVICE = "inference.GRPCInferenceService"
_NAME_AND_VERSION = "string name = 1, string version = 2"
_TENSOR = "string name = 1, string datatype = 2, repeated int64 shape = 3"
_FIELDS = {
    "ServerLiveResponse": "bool live = 1",
    "ServerReadyResponse": "bool ready = 1",
    "ModelReadyRequest": _NAME_AND_VERSION,
    "ModelReadyResponse": "bool ready = 1",
    "ServerMetadataResponse": f"{_NAME_AND_VERSION}, repeated string extensions = 3",
    "ModelMetadataRequest": _NAME_AND_VERSION,
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": "string name = 1, repeated string versions = 2, string platform = 3,"
    " repeated TensorMetadata inputs = 4, repeated TensorMetadata outputs = 5",
    "ModelIndex": f"{_NAME_AND_VERSION}, string state = 3, string reason = 4",
    "RepositoryIndexResponse": "repeated ModelIndex models = 1",
    "Value": "bool bool_param = 1, int64 int64_param = 2, string string_param = 3",
    "Parameter": "string key = 1, Value value = 2",
    "Contents": "repeated bool bool_contents = 1, repeated int32 int_contents = 2, repeated int64 int64_contents = 3,"
    " repeated uint32 uint_contents = 4, repeated uint64 uint64_contents = 5, repeated float fp32_contents = 6,"
    " repeated double fp64_contents = 7, repeated bytes bytes_contents = 8",
    "Tensor": f"{_TENSOR}, repeated Parameter parameters = 4, Contents contents = 5",
    "RequestedOutput": "string name = 1, repeated Parameter parameters = 2",
    "ModelInferRequest": "string model_name = 1, string model_version = 2, string id = 3,"
    " repeated Parameter parameters = 4, repeated Tensor inputs = 5, repeated RequestedOutput outputs = 6,"
    " repeated bytes raw_input_contents = 7",
    "ModelInferResponse": "string model_name = 1, string model_version = 2, string id = 3,"
    " repeated Parameter parameters = 4, repeated Tensor outputs = 5, repeated bytes raw_output_contents = 6",
}
Messages = dict[str, Any]  # name -> class


def messages() -> Messages:
    """In a pool of their own: a process may hold another package's messages of the same names."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="conveyor/inference.proto", package="inference", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            *repeated, kind, label, _, number = field.split(" ")
            made = message.field.add(name=label, number=int(number))
            made.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _FIELDS:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".inference.{kind}"
            else:
                made.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in _FIELDS}
