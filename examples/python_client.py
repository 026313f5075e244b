"""A first conversation with Regulars from Python, without generated code: the server describes itself.

    pip install grpcio grpcio-reflection
    REGULARS_SERVER=http://127.0.0.1:7700 REGULARS_KEY=rk_… python examples/python_client.py
"""

import os
import uuid

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(os.environ["REGULARS_SERVER"].removeprefix("http://"))
key = os.environ["REGULARS_KEY"]
types = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def call(service, method, **request):
    """Calls an RPC, for example call("points", "GetBalance", member="programs/tea/members/…")."""
    name = f"regulars.{service}.v1.{service.capitalize()}Service"
    rpc = types.FindServiceByName(name).FindMethodByName(method)
    answer = message_factory.GetMessageClass(rpc.output_type)
    stub = channel.unary_unary(f"/{name}/{method}", lambda m: m.SerializeToString(), answer.FromString)
    message = json_format.ParseDict(request, message_factory.GetMessageClass(rpc.input_type)())
    return stub(message, metadata=[("authorization", f"Bearer {key}")], timeout=10)


def change(service, method, **request):
    """Calls an RPC that changes something. Send the same request_id again after a lost answer: it counts once."""
    return call(service, method, **request, request_id=str(uuid.uuid4()))


program = change("directory", "CreateProgram", program_id=f"tea-{uuid.uuid4().hex[:6]}", display_name="Tea",
                 time_zone="Europe/Berlin", currency_code="EUR").name
change("points", "CreateProgramVersion", parent=program, terms={
    "points_per_unit": "10", "rounding": "POINT_ROUNDING_DOWN", "return_policy": "RETURN_POLICY_UNLIMITED"})
# An administrator sets things up; moving points takes a key with a role that may.
key = change("directory", "CreateApiKey", display_name="web shop", role="ROLE_PLATFORM", programs=[program]).secret

member = change("members", "EnrollMember", parent=program, identities=[{"email": "ada@example.com"}]).name

award = change("points", "Award", parent=program, member=member,
               purchase={"purchase_id": "receipt-1", "net": {"currency_code": "EUR", "minor_units": 1250}})
print("12.50 EUR earned", award.actual_points, "points")

try:
    change("points", "Redeem", member=member, points=200)
except grpc.RpcError as refusal:
    print("200 points are refused:", refusal.code().name, "-", refusal.details())

left = change("points", "Redeem", member=member, points=100).balance.wallets[0].active_points
print("100 points spent,", left, "left")
