//! Refusals as callers see them. Each has a stable reason, and its figures are in the metadata too.

use kernel::ProgramId;
use persistence::Error as StoreError;
use prost::Message;
use rpc::status::{REPLAYED_HEADER, with_reason};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::domain::rewards::RewardRefusal;
use crate::domain::{ClosedReservation, Refusal};

/// A refusal as it is remembered.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredRefusal {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    /// The encoded `google.rpc.Status`.
    #[prost(bytes = "vec", tag = "3")]
    details: Vec<u8>,
}

impl StoredRefusal {
    pub(crate) fn of(status: &Status) -> StoredRefusal {
        StoredRefusal { code: status.code() as i32, message: status.message().to_owned(), details: status.details().to_vec() }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<StoredRefusal, StoreError> {
        StoredRefusal::decode(bytes).map_err(|_| StoreError::Corrupt("a remembered refusal".to_owned()))
    }

    /// The same refusal again, with the header of a replay.
    pub(crate) fn replayed(self) -> Status {
        let mut status = Status::with_details(Code::from(self.code), self.message, self.details.into());
        status.metadata_mut().insert(REPLAYED_HEADER, MetadataValue::from_static("true"));
        status
    }
}

/// The stable reason of a refusal.
pub(crate) fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Reward(refusal) => reward_reason(*refusal),
        Refusal::WalletNotFound { .. } => "WALLET_NOT_FOUND",
        Refusal::InsufficientPoints { .. } => "INSUFFICIENT_POINTS",
        Refusal::MemberBlocked => "MEMBER_BLOCKED",
        Refusal::MemberClosed => "MEMBER_CLOSED",
        Refusal::ReservationNotFound => "RESERVATION_NOT_FOUND",
        Refusal::ReservationEnded(ClosedReservation::Captured) => "RESERVATION_CAPTURED",
        Refusal::ReservationEnded(ClosedReservation::Released) => "RESERVATION_RELEASED",
        Refusal::ReservationEnded(ClosedReservation::Expired) => "RESERVATION_EXPIRED",
        Refusal::ExceedsReservation { .. } => "EXCEEDS_RESERVATION",
        Refusal::PurchaseNotFound => "PURCHASE_NOT_FOUND",
        Refusal::LineNotFound { .. } => "LINE_NOT_FOUND",
        Refusal::ExceedsPurchase { .. } => "EXCEEDS_PURCHASE",
        Refusal::NothingToReturn => "NOTHING_TO_RETURN",
        Refusal::Overflow => "AMOUNT_OUT_OF_RANGE",
        Refusal::ActivityLimit { .. } => "ACTIVITY_LIMIT",
        Refusal::ProofRequired { .. } => "PROOF_REQUIRED",
        Refusal::AwardLimit { .. } => "AWARD_LIMIT_REACHED",
        Refusal::ActivityNotFound { .. } => "ACTIVITY_NOT_FOUND",
        Refusal::NothingPending => "NOTHING_PENDING",
        Refusal::RedemptionNotFound => "REDEMPTION_NOT_FOUND",
        Refusal::ExceedsRedemption { .. } => "EXCEEDS_REDEMPTION",
        Refusal::RedemptionsApart => "REDEMPTIONS_APART",
        Refusal::NothingToExtend => "NOTHING_TO_EXTEND",
        Refusal::ExpiryNotAhead => "EXPIRY_NOT_AHEAD",
        Refusal::ExceedsDeficit { .. } => "EXCEEDS_DEFICIT",
        Refusal::SameAccount => "SAME_ACCOUNT",
        Refusal::AlreadyMerged => "ALREADY_MERGED",
        Refusal::NotMerged => "NOT_MERGED",
        Refusal::PoolNotFound => "POOL_NOT_FOUND",
        Refusal::NotInPool => "NOT_IN_POOL",
        Refusal::NotPoolOwner => "NOT_POOL_OWNER",
        Refusal::NotInvited => "NOT_INVITED",
        Refusal::AlreadyInPool => "ALREADY_IN_POOL",
        Refusal::PoolFull => "POOL_FULL",
        Refusal::PoolHasMembers => "POOL_HAS_MEMBERS",
        Refusal::PoolAccount => "POOL_ACCOUNT",
    }
}

/// The stable reason of a refusal of a reward or voucher.
pub(crate) fn reward_reason(refusal: RewardRefusal) -> &'static str {
    match refusal {
        RewardRefusal::NotFound => "REWARD_NOT_FOUND",
        RewardRefusal::Retired => "REWARD_RETIRED",
        RewardRefusal::NotStarted => "REWARD_NOT_STARTED",
        RewardRefusal::Over => "REWARD_OVER",
        RewardRefusal::Tier => "TIER_NOT_ADMITTED",
        RewardRefusal::Audience => "AUDIENCE_NOT_ADMITTED",
        RewardRefusal::Limit => "MEMBER_LIMIT_REACHED",
        RewardRefusal::OutOfStock => "REWARD_OUT_OF_STOCK",
        RewardRefusal::VoucherNotFound => "VOUCHER_NOT_FOUND",
        RewardRefusal::VoucherNotRedeemed => "VOUCHER_NOT_REDEEMED",
        RewardRefusal::VoucherUsed => "VOUCHER_USED",
        RewardRefusal::VoucherRevoked => "VOUCHER_REVOKED",
        RewardRefusal::VoucherRefunded => "VOUCHER_REFUNDED",
        RewardRefusal::VoucherNotUsed => "VOUCHER_NOT_USED",
        RewardRefusal::VoucherExpired => "VOUCHER_EXPIRED",
        RewardRefusal::RedemptionOfReward => "REDEMPTION_OF_REWARD",
    }
}

/// Whether a refusal stands for 30 days under its request id. What is not known yet may be known in a moment, and an amount that
/// cannot be counted is a malformed request.
pub(crate) fn is_remembered(refusal: &Refusal) -> bool {
    !matches!(
        refusal,
        Refusal::WalletNotFound { .. }
            | Refusal::PoolNotFound
            | Refusal::ReservationNotFound
            | Refusal::PurchaseNotFound
            | Refusal::RedemptionNotFound
            | Refusal::Reward(RewardRefusal::NotFound | RewardRefusal::VoucherNotFound)
            | Refusal::NothingPending
            | Refusal::Overflow
    )
}

/// A refusal as a status.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::ReservationNotFound | Refusal::PurchaseNotFound | Refusal::RedemptionNotFound | Refusal::PoolNotFound => Code::NotFound,
        Refusal::WalletNotFound { .. } => Code::NotFound,
        Refusal::Reward(RewardRefusal::NotFound | RewardRefusal::VoucherNotFound) => Code::NotFound,
        Refusal::Overflow => Code::OutOfRange,
        _ => Code::FailedPrecondition,
    };
    let metadata: Option<(&str, String)> = match refusal {
        Refusal::InsufficientPoints { missing } => Some(("missing_points", missing.to_string())),
        Refusal::ExceedsReservation { held } => Some(("held_points", held.to_string())),
        Refusal::LineNotFound { line } => Some(("line_id", line.clone())),
        Refusal::ExceedsPurchase { left } => Some(("left", left.to_string())),
        Refusal::ActivityNotFound { activity } | Refusal::ActivityLimit { activity } | Refusal::ProofRequired { activity } => {
            Some(("activity", activity.clone()))
        }
        Refusal::AwardLimit { limit } => Some(("limit_id", limit.clone())),
        Refusal::ExceedsRedemption { left } => Some(("left_points", left.to_string())),
        Refusal::ExceedsDeficit { deficit } => Some(("deficit_points", deficit.to_string())),
        _ => None,
    };
    with_reason(code, reason(refusal), refusal.to_string(), metadata)
}

/// The request id came with another payload.
pub(crate) fn request_id_reused(field: &str) -> Status {
    rpc::status::from_store(StoreError::RequestIdReused { field: field.to_owned() })
}

/// The reward key came with another member.
pub(crate) fn reward_exists() -> Status {
    let text = "the reward key was used before for another member";
    with_reason(Code::AlreadyExists, "REWARD_EXISTS", text, [("field", "member")])
}

/// The time of an event is not believed.
pub(crate) fn untimely(field: &str, reason: &'static str, text: &str) -> Status {
    with_reason(Code::InvalidArgument, reason, format!("{field} {text}"), [("field", field)])
}

/// The purchase id came with another purchase.
pub(crate) fn purchase_exists(field: &str) -> Status {
    let text = format!("the purchase id was used before for a purchase with another {field}");
    with_reason(Code::AlreadyExists, "PURCHASE_EXISTS", text, [("field", field)])
}

/// The activity id came with another activity.
pub(crate) fn activity_exists(field: &str) -> Status {
    let text = format!("the activity id was used before for an activity with another {field}");
    with_reason(Code::AlreadyExists, "ACTIVITY_EXISTS", text, [("field", field)])
}

/// Another activity was proved by the same link.
pub(crate) fn proof_used() -> Status {
    let text = "the link has proved another activity before";
    with_reason(Code::AlreadyExists, "PROOF_USED", text, [("field", "proof_url")])
}

/// Nothing can be earned under no terms.
pub(crate) fn version_missing(program: &ProgramId) -> Status {
    let text = "the program has no terms yet: make a first version with CreateProgramVersion";
    with_reason(Code::FailedPrecondition, "PROGRAM_VERSION_MISSING", text, [("program", program.name())])
}

/// There is no such program.
pub(crate) fn program_not_found(program: &ProgramId) -> Status {
    with_reason(Code::NotFound, "PROGRAM_NOT_FOUND", "there is no such program", [("program", program.name())])
}

/// There is nothing of that name; `reason` says what.
pub(crate) fn not_found(reason: &'static str, what: &str) -> Status {
    with_reason::<&str, &str>(Code::NotFound, reason, format!("there is no such {what}"), [])
}
