//! What clients ask and what they are answered, as data: a new RPC is one more line in [`calls!`].

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proto::points as pb;
use proto::points::points_service_client::PointsServiceClient;
use rpc::{Credential, Role};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorInfo, StatusExt};

use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};

macro_rules! calls {
    (
        changes { $($change:ident $change_request:ident $change_method:ident $change_answer:ident $change_role:ident;)+ }
        reads { $($read:ident $read_request:ident $read_method:ident $read_answer:ident $read_role:ident;)+ }
    ) => {
        /// A request to the ledger.
        #[derive(Clone, PartialEq, Debug)]
        pub(crate) enum Call { $($change(pb::$change_request),)+ $($read(pb::$read_request),)+ }

        impl Call {
            /// The RPC.
            pub(crate) fn rpc(&self) -> &'static str {
                match self { $(Call::$change(_) => stringify!($change),)+ $(Call::$read(_) => stringify!($read),)+ }
            }

            /// The id of a request that changes something.
            pub(crate) fn request_id(&self) -> Option<&str> {
                match self { $(Call::$change(request) => Some(&request.request_id),)+ $(Call::$read(_) => None,)+ }
            }

            /// The same request under another id.
            pub(crate) fn under(mut self, id: &str) -> Call {
                match &mut self { $(Call::$change(request) => request.request_id = id.to_owned(),)+ $(Call::$read(_) => {})+ }
                self
            }

            pub(crate) fn role(&self) -> Role {
                match self { $(Call::$change(_) => Role::$change_role,)+ $(Call::$read(_) => Role::$read_role,)+ }
            }

            /// An answer in words.
            pub(crate) fn tell(&self, answer: &Answer) -> String {
                let again = if answer.replayed { "again " } else { "" };
                match (&answer.result, self) {
                    (Err(refusal), _) => format!("{again}{refusal:?}"),
                    $((Ok(bytes), Call::$change(_)) => format!("{again}{:?}", pb::$change_answer::decode(&bytes[..])),)+
                    $((Ok(bytes), Call::$read(_)) => format!("{again}{:?}", pb::$read_answer::decode(&bytes[..])),)+
                }
            }

            /// The operation in an answer that is one.
            pub(crate) fn operation(&self, answer: &Answer) -> Option<pb::Operation> {
                let kind = match self {
                    $(Call::$change(_) => stringify!($change_answer),)+
                    $(Call::$read(_) => stringify!($read_answer),)+
                };
                if kind == "Operation" { answer.message() } else { None }
            }

            fn bytes(&self) -> Vec<u8> {
                match self { $(Call::$change(request) => request.encode_to_vec(),)+ $(Call::$read(request) => request.encode_to_vec(),)+ }
            }

            fn message_name(&self) -> &'static str {
                match self {
                    $(Call::$change(_) => concat!("regulars.points.v1.", stringify!($change_request)),)+
                    $(Call::$read(_) => concat!("regulars.points.v1.", stringify!($read_request)),)+
                }
            }

            /// Sends it and waits for the answer.
            pub(crate) async fn send(&self, server: &Channel, keys: &Keys, patience: Option<Duration>) -> Meaning {
                let wire = InterceptedService::new(server.clone(), keys.0[&self.role()].1.clone());
                let mut client = PointsServiceClient::new(wire);
                let answer = match self {
                    $(Call::$change(request) => client.$change_method(with_patience(request.clone(), patience)).await.map(Answer::of),)+
                    $(Call::$read(request) => client.$read_method(with_patience(request.clone(), patience)).await.map(Answer::of),)+
                };
                answer.map_or_else(|status| classify(self, &status), Meaning::Done)
            }
        }
    };
}

calls! {
    changes {
        Award AwardRequest award Operation Platform;
        Redeem RedeemRequest redeem Operation Platform;
        Reserve ReserveRequest reserve Operation Platform;
        Capture CaptureRequest capture Operation Platform;
        Release ReleaseRequest release Operation Platform;
        ReturnPurchase ReturnPurchaseRequest return_purchase Operation Platform;
        Adjust AdjustRequest adjust Operation Support;
        EnsureReward EnsureRewardRequest ensure_reward EnsureRewardResponse Service;
        AwardActivity AwardActivityRequest award_activity Operation Platform;
        ActivatePending ActivatePendingRequest activate_pending Operation Platform;
        CancelPending CancelPendingRequest cancel_pending Operation Platform;
        RefundRedemption RefundRedemptionRequest refund_redemption Operation Platform;
        SetExpiry SetExpiryRequest set_expiry Operation Support;
        ForgiveDeficit ForgiveDeficitRequest forgive_deficit Operation Support;
        Transfer TransferRequest transfer Operation Platform;
        MergeAccounts MergeAccountsRequest merge_accounts Operation Support;
        UnmergeAccounts UnmergeAccountsRequest unmerge_accounts Operation Support;
        CreatePool CreatePoolRequest create_pool Operation Platform;
        InviteToPool InviteToPoolRequest invite_to_pool Operation Platform;
        JoinPool JoinPoolRequest join_pool Operation Platform;
        SetPoolSharing SetPoolSharingRequest set_pool_sharing Operation Platform;
        ContributeToPool ContributeToPoolRequest contribute_to_pool Operation Platform;
        LeavePool LeavePoolRequest leave_pool Operation Platform;
        RedeemFromPool RedeemFromPoolRequest redeem_from_pool Operation Platform;
        SettleDue SettleDueRequest settle_due SettleDueResponse Service;
    }
    reads {
        PreviewAward PreviewAwardRequest preview_award AwardPreview Platform;
        GetBalance GetBalanceRequest get_balance Balance Platform;
        ListEntries ListEntriesRequest list_entries ListEntriesResponse Platform;
        GetPool GetPoolRequest get_pool Pool Platform;
        GetPurchase GetPurchaseRequest get_purchase Purchase Platform;
        GetOperation GetOperationRequest get_operation Operation Platform;
    }
}

/// The name and credential of a key of each role that a call needs.
pub(crate) struct Keys(pub(crate) BTreeMap<Role, (String, Credential)>);

impl Keys {
    pub(crate) const ROLES: [Role; 3] = [Role::Platform, Role::Support, Role::Service];

    /// Who the books say did something.
    pub(crate) fn actor(&self, role: Role) -> &str {
        &self.0[&role].0
    }
}

fn with_patience<M>(message: M, patience: Option<Duration>) -> Request<M> {
    let mut request = Request::new(message);
    if let Some(patience) = patience {
        request.set_timeout(patience);
    }
    request
}

/// What a call was answered, or must be answered.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Answer {
    /// The message as it was encoded, or why there is none.
    pub(crate) result: Result<Vec<u8>, Refusal>,
    /// It says that it was given before.
    pub(crate) replayed: bool,
}

/// A refusal that is the caller's matter.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// The words, which only a replay must repeat.
    pub(crate) text: String,
}

impl Answer {
    fn of<M: Message>(response: tonic::Response<M>) -> Answer {
        let replayed = response.metadata().contains_key("regulars-replayed");
        Answer { result: Ok(response.into_inner().encode_to_vec()), replayed }
    }

    pub(crate) fn first(message: &impl Message) -> Answer {
        Answer { result: Ok(message.encode_to_vec()), replayed: false }
    }

    /// The message in a success.
    pub(crate) fn message<M: Message + Default>(&self) -> Option<M> {
        self.result.as_ref().ok().map(|bytes| M::decode(&bytes[..]).unwrap())
    }
}

impl Refusal {
    pub(crate) fn new(code: Code, reason: &str, metadata: &[(&str, String)]) -> Refusal {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Refusal { code, reason: reason.to_owned(), metadata, text: String::new() }
    }
}

/// What a status means to a till.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Meaning {
    /// It was done, now or before.
    Done(Answer),
    /// It was judged and refused, now or before.
    Refused(Answer),
    /// Nothing was done; the same request may be sent again.
    Transient,
    /// Whether it was done is not known; the same request, sent again, tells.
    Unknown,
}

impl Meaning {
    /// Whether the same request has to be sent again.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Meaning::Transient | Meaning::Unknown)
    }
}

/// Every refusal that the workload can meet.
const REFUSALS: [(Code, &str); 40] = [
    (Code::AlreadyExists, "ACTIVITY_EXISTS"),
    (Code::AlreadyExists, "PURCHASE_EXISTS"),
    (Code::AlreadyExists, "REQUEST_ID_REUSED"),
    (Code::AlreadyExists, "REWARD_EXISTS"),
    (Code::FailedPrecondition, "ACTIVITY_NOT_FOUND"),
    (Code::FailedPrecondition, "ALREADY_IN_POOL"),
    (Code::FailedPrecondition, "ALREADY_MERGED"),
    (Code::FailedPrecondition, "EXCEEDS_DEFICIT"),
    (Code::FailedPrecondition, "EXCEEDS_PURCHASE"),
    (Code::FailedPrecondition, "EXCEEDS_REDEMPTION"),
    (Code::FailedPrecondition, "EXCEEDS_RESERVATION"),
    (Code::FailedPrecondition, "EXPIRY_NOT_AHEAD"),
    (Code::FailedPrecondition, "INSUFFICIENT_POINTS"),
    (Code::FailedPrecondition, "LINE_NOT_FOUND"),
    (Code::FailedPrecondition, "MEMBER_BLOCKED"),
    (Code::FailedPrecondition, "MEMBER_CLOSED"),
    (Code::FailedPrecondition, "NOTHING_PENDING"),
    (Code::FailedPrecondition, "NOTHING_TO_EXTEND"),
    (Code::FailedPrecondition, "NOTHING_TO_RETURN"),
    (Code::FailedPrecondition, "NOT_INVITED"),
    (Code::FailedPrecondition, "NOT_IN_POOL"),
    (Code::FailedPrecondition, "NOT_MERGED"),
    (Code::FailedPrecondition, "NOT_POOL_OWNER"),
    (Code::FailedPrecondition, "POOL_ACCOUNT"),
    (Code::FailedPrecondition, "POOL_HAS_MEMBERS"),
    (Code::FailedPrecondition, "REDEMPTIONS_APART"),
    (Code::FailedPrecondition, "RESERVATION_CAPTURED"),
    (Code::FailedPrecondition, "RESERVATION_EXPIRED"),
    (Code::FailedPrecondition, "RESERVATION_RELEASED"),
    (Code::FailedPrecondition, "SAME_ACCOUNT"),
    (Code::InvalidArgument, "CURRENCY_MISMATCH"),
    (Code::InvalidArgument, "OCCUR_TIME_IN_FUTURE"),
    (Code::InvalidArgument, "OCCUR_TIME_TOO_OLD"),
    (Code::NotFound, "OPERATION_NOT_FOUND"),
    (Code::NotFound, "POOL_NOT_FOUND"),
    (Code::NotFound, "PROGRAM_NOT_FOUND"),
    (Code::NotFound, "PURCHASE_NOT_FOUND"),
    (Code::NotFound, "REDEMPTION_NOT_FOUND"),
    (Code::NotFound, "RESERVATION_NOT_FOUND"),
    (Code::NotFound, "WALLET_NOT_FOUND"),
];

/// What a status means; one that means nothing known fails the test. A status without a reason was made by the transport.
fn classify(call: &Call, status: &Status) -> Meaning {
    let info = status.get_details_error_info().unwrap_or_else(|| ErrorInfo::new("", "", HashMap::new()));
    let reason = info.reason.as_str();
    if REFUSALS.contains(&(status.code(), reason)) {
        let metadata = info.metadata.into_iter().collect();
        let refusal = Refusal { code: status.code(), reason: info.reason, metadata, text: status.message().to_owned() };
        return Meaning::Refused(Answer { result: Err(refusal), replayed: status.metadata().contains_key("regulars-replayed") });
    }
    match (status.code(), reason) {
        (Code::ResourceExhausted, "OVERLOADED") | (Code::Aborted, "CONTENTION") => Meaning::Transient,
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED") | (Code::Unavailable, "LEDGER_UNAVAILABLE" | "DATABASE_UNAVAILABLE") => {
            Meaning::Unknown
        }
        // The client's own clock, or a server that is gone.
        (Code::Cancelled | Code::DeadlineExceeded, "") => Meaning::Unknown,
        (Code::Unavailable | Code::Unknown, "") if std::error::Error::source(status).is_some() => Meaning::Unknown,
        _ => panic!("a status that means nothing known: {status:?}\nto {call:?}"),
    }
}

/// The first field in which two requests under one id differ, by the numbers of the contract and one level deep; `None` when they
/// are the same.
pub(crate) fn first_difference(one: &Call, other: &Call) -> Option<String> {
    if let Some(id) = one.request_id()
        && other.clone().under(id) == *one
    {
        return None;
    }
    if one.message_name() != other.message_name() {
        return Some("method".to_owned());
    }
    let descriptor = proto::descriptor_pool().get_message_by_name(one.message_name()).unwrap();
    let decode = |call: &Call| DynamicMessage::decode(descriptor.clone(), &call.bytes()[..]).unwrap();
    differing(&descriptor, &decode(one), &decode(other), true)
}

fn differing(descriptor: &MessageDescriptor, one: &DynamicMessage, other: &DynamicMessage, nested: bool) -> Option<String> {
    let mut fields: Vec<_> = descriptor.fields().filter(|field| field.name() != "request_id").collect();
    fields.sort_by_key(|field| field.number());
    fields.into_iter().find_map(|field| {
        if one.has_field(&field) == other.has_field(&field) && one.get_field(&field) == other.get_field(&field) {
            return None;
        }
        match field.kind() {
            Kind::Message(inner) if nested && !field.is_list() && inner.full_name().starts_with("regulars.") => {
                let (one, other) = (one.get_field(&field), other.get_field(&field));
                let within = differing(&inner, one.as_message()?, other.as_message()?, false)?;
                Some(format!("{}.{within}", field.name()))
            }
            _ => Some(field.name().to_owned()),
        }
    })
}
