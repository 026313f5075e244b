"""A client that knows nothing of Regulars but its address and a key.

Everything else it learns by reflection: services, methods and messages. It checks what a client must be able to rely on:
health, a program with terms, a member, an award that can be retried for ever, and a refusal that a program can act on.

    REGULARS_SERVER=http://127.0.0.1:7700 REGULARS_KEY=rk_… python tests/foreign/client.py
"""

import copy
import os
import sys
import uuid

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

SERVICES = {
    "regulars.directory.v1.DirectoryService",
    "regulars.events.v1.EventFeedService",
    "regulars.feedback.v1.FeedbackService",
    "regulars.members.v1.MembersService",
    "regulars.points.v1.PointsService",
    "regulars.referrals.v1.ReferralsService",
    "regulars.tiers.v1.TiersService",
}
DEADLINE_SECONDS = 20


class Client:
    """Calls methods by name with requests as plain dictionaries; every type comes from the server."""

    def __init__(self, channel, key):
        self.channel = channel
        self.metadata = [("authorization", f"Bearer {key}")]
        self.reflection = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.reflection)

    def with_key(self, key):
        """The same client with another key."""
        other = copy.copy(self)
        other.metadata = [("authorization", f"Bearer {key}")]
        return other

    def call(self, method, request):
        """The answer as a message, as the bytes on the wire, and whether the server says it is a replay."""
        service_name, _, method_name = method.rpartition(".")
        descriptor = self.pool.FindServiceByName(service_name).FindMethodByName(method_name)
        request_type = message_factory.GetMessageClass(descriptor.input_type)
        answer_type = message_factory.GetMessageClass(descriptor.output_type)
        # The answer stays bytes here, so that two of them can be compared as they were sent.
        stub = self.channel.unary_unary(f"/{service_name}/{method_name}", request_serializer=lambda m: m.SerializeToString())
        message = json_format.ParseDict(request, request_type(), descriptor_pool=self.pool)
        data, call = stub.with_call(message, metadata=self.metadata, timeout=DEADLINE_SECONDS)
        replayed = dict(call.initial_metadata()).get("regulars-replayed") == "true"
        return answer_type.FromString(data), data, replayed

    def refusal(self, method, request):
        """The status of a call that must fail, with its google.rpc.ErrorInfo."""
        try:
            self.call(method, request)
        except grpc.RpcError as error:
            for detail in rpc_status.from_call(error).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return error.code(), info
            return error.code(), None
        raise AssertionError(f"{method} was not refused")


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, expected {expected!r}")


def request_id():
    return str(uuid.uuid4())


def discovers_services(client):
    listed = set(client.reflection.get_services())
    equal(SERVICES - listed, set(), "services that reflection does not list")


def is_healthy(client):
    stub = health_pb2_grpc.HealthStub(client.channel)
    for service in ["", "regulars.points.v1.PointsService"]:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE_SECONDS)
        equal(answer.status, health_pb2.HealthCheckResponse.SERVING, f"health of {service or 'the server'}")


def refuses_strangers(client):
    stranger = client.with_key("rk_nobody_" + 64 * "0")
    code, _ = stranger.refusal("regulars.directory.v1.DirectoryService.ListPrograms", {})
    equal(code, grpc.StatusCode.UNAUTHENTICATED, "a key that nobody made")


def opens_a_program(client):
    program, _, _ = client.call(
        "regulars.directory.v1.DirectoryService.CreateProgram",
        {
            "programId": f"foreign-{uuid.uuid4().hex[:8]}",
            "displayName": "Tea and tests",
            "timeZone": "Asia/Shanghai",
            "currencyCode": "CNY",
            "requestId": request_id(),
        },
    )
    version, _, _ = client.call(
        "regulars.points.v1.PointsService.CreateProgramVersion",
        {
            "parent": program.name,
            "terms": {
                "pointsPerUnit": "1",
                "rounding": "POINT_ROUNDING_DOWN",
                "expireAfter": {"count": 12, "unit": "UNIT_MONTH"},
                "expiryRounding": "EXPIRY_ROUNDING_MONTH",
                "returnPolicy": "RETURN_POLICY_UNLIMITED",
            },
            "requestId": request_id(),
        },
    )
    equal(version.name, f"{program.name}/versions/1", "the first version of the terms")
    return program.name


def takes_the_role_of_a_back_end(client, program):
    """The administrator's key may not move points: that takes a key of its own, good for this program alone."""
    answer, _, _ = client.call(
        "regulars.directory.v1.DirectoryService.CreateApiKey",
        {"displayName": "web shop", "role": "ROLE_PLATFORM", "programs": [program], "requestId": request_id()},
    )
    back_end = client.with_key(answer.secret)
    code, _ = back_end.refusal("regulars.directory.v1.DirectoryService.ListApiKeys", {})
    equal(code, grpc.StatusCode.PERMISSION_DENIED, "a back end that lists keys")
    code, _ = back_end.refusal("regulars.directory.v1.DirectoryService.GetProgram", {"name": "programs/another"})
    equal(code, grpc.StatusCode.PERMISSION_DENIED, "a program that the key may not touch")
    return back_end


def names_wrong_fields(client):
    method = "regulars.directory.v1.DirectoryService.CreateProgram"
    try:
        client.call(method, {"programId": "Not An Id", "timeZone": "UTC", "currencyCode": "CNY", "requestId": request_id()})
    except grpc.RpcError as error:
        equal(error.code(), grpc.StatusCode.INVALID_ARGUMENT, "a malformed request")
        bad = error_details_pb2.BadRequest()
        unpacked = any(detail.Unpack(bad) for detail in rpc_status.from_call(error).details)
        equal(unpacked, True, "a malformed request has a BadRequest")
        fields = {violation.field for violation in bad.field_violations}
        equal({"program_id", "display_name"} - fields, set(), "wrong fields that are not named")
        return
    raise AssertionError("a malformed request was taken")


def enrols(client, program):
    request = {
        "parent": program,
        "identities": [{"phone": "13812345678", "regionCode": "CN"}],
        "displayName": "Zhang San",
        "channel": "web",
        "requestId": request_id(),
    }
    member, first, replayed = client.call("regulars.members.v1.MembersService.EnrollMember", request)
    equal(replayed, False, "a first answer that says it is a replay")
    equal("13812345678" in member.phone, False, "a phone number in the clear")
    equal(client.call("regulars.members.v1.MembersService.EnrollMember", request)[1:], (first, True), "an enrolment sent again")
    request["requestId"] = request_id()
    code, info = client.refusal("regulars.members.v1.MembersService.EnrollMember", request)
    equal((code, info.reason), (grpc.StatusCode.ALREADY_EXISTS, "IDENTITY_TAKEN"), "a phone number that is taken")
    return member.name


def awards_once(client, program, member):
    request = {
        "parent": program,
        "member": member,
        "purchase": {
            "purchaseId": "receipt-1",
            "net": {"currencyCode": "CNY", "minorUnits": 3250},
            "lines": [{"lineId": "1", "sku": "oolong", "quantity": 2, "netMinorUnits": 3250}],
            "channel": "store",
        },
        "requestId": request_id(),
    }
    operation, first, replayed = client.call("regulars.points.v1.PointsService.Award", request)
    equal(replayed, False, "a first answer that says it is a replay")
    equal(operation.actual_points, 32, "points for 32.50 at one a yuan, rounded down")
    for _ in range(3):
        equal(client.call("regulars.points.v1.PointsService.Award", request)[1:], (first, True), "an award sent again")
    other = {**request, "purchase": {**request["purchase"], "channel": "web"}}
    code, info = client.refusal("regulars.points.v1.PointsService.Award", other)
    equal((code, info.reason), (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"), "a request id used for another request")
    balance, _, _ = client.call("regulars.points.v1.PointsService.GetBalance", {"member": member})
    equal([(w.wallet, w.active_points) for w in balance.wallets], [("points", 32)], "the balance")


def cannot_redeem_too_much(client, member):
    method = "regulars.points.v1.PointsService.Redeem"
    code, info = client.refusal(method, {"member": member, "points": 50, "requestId": request_id()})
    equal((code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_POINTS"), "spending more than there is")
    equal(info.domain, "regulars", "the domain of the reason")
    equal(info.metadata["missing_points"], "18", "the points that are missing")
    operation, _, _ = client.call(method, {"member": member, "points": 30, "requestId": request_id()})
    equal((operation.actual_points, operation.balance.wallets[0].active_points), (-30, 2), "points spent and left")


def main():
    address = os.environ["REGULARS_SERVER"].removeprefix("http://")
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=DEADLINE_SECONDS)
        client = Client(channel, os.environ["REGULARS_KEY"])
        discovers_services(client)
        is_healthy(client)
        refuses_strangers(client)
        names_wrong_fields(client)
        program = opens_a_program(client)
        back_end = takes_the_role_of_a_back_end(client, program)
        member = enrols(back_end, program)
        awards_once(back_end, program, member)
        cannot_redeem_too_much(back_end, member)
    print("a foreign client found everything as promised")


if __name__ == "__main__":
    sys.exit(main())
