use persistence::IsRetryable;
use rpc::status::{self, with_reason};
use tonic::{Code, Status};

use crate::domain::Refusal;
use crate::domain::rewards::{Obstacle, RewardRefusal};
use crate::error;

/// What keeps a change of the catalogue or of a voucher from being made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewardError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the program has had a reward of that id")]
    IdTaken,
    #[error("the reward has no limit")]
    WithoutStock,
    #[error("{left} pieces are left")]
    BelowTaken { left: i64 },
    #[error("the grant key was used before for a grant with another {field}")]
    GrantExists { field: String },
    #[error("must lie ahead")]
    EndNotAhead,
    #[error("the wish key was used before for another {field}")]
    WishExists { field: &'static str },
    #[error("the till had another {field} under that number")]
    OfflineUseExists { field: String },
    #[error("the time of the offline code is over, or has not begun")]
    OfflineCodeExpired,
    #[error("the offline code takes off {limit} minor units at most")]
    OfflineLimitExceeded { limit: i64 },
    #[error("a till must have a connection to accept the voucher")]
    OnlineOnly,
    #[error("the voucher's conditions name too much for an offline code")]
    OfflineCodeTooLong,
    #[error("the time is not believed")]
    Untimely(Box<Status>),
    #[error("the basket does not meet the voucher's conditions")]
    NotApplicable(Vec<Obstacle>),
    #[error(transparent)]
    Store(#[from] persistence::Error),
}

impl From<RewardRefusal> for RewardError {
    fn from(refusal: RewardRefusal) -> RewardError {
        RewardError::Refused(Refusal::Reward(refusal))
    }
}

impl RewardError {
    /// A use is refused for how the voucher stands before it is for the basket.
    pub(crate) fn of(obstacles: &[Obstacle]) -> RewardError {
        match obstacles {
            [Obstacle::Used, ..] => RewardRefusal::VoucherUsed.into(),
            [Obstacle::Revoked, ..] => RewardRefusal::VoucherRevoked.into(),
            [Obstacle::Refunded, ..] => RewardRefusal::VoucherRefunded.into(),
            [Obstacle::Expired, ..] => RewardRefusal::VoucherExpired.into(),
            obstacles => RewardError::NotApplicable(obstacles.to_vec()),
        }
    }
}

impl IsRetryable for RewardError {
    fn is_retryable(&self) -> bool {
        matches!(self, RewardError::Store(error) if error.is_retryable())
    }
}

impl From<RewardError> for Status {
    fn from(error: RewardError) -> Status {
        let text = error.to_string();
        let (code, reason, metadata) = match error {
            RewardError::Refused(refusal) => return error::refused(&refusal),
            RewardError::Store(error) => return status::from_store(error),
            RewardError::EndNotAhead => return status::bad_request([("terms.valid_until", text)]),
            RewardError::IdTaken => (Code::AlreadyExists, "REWARD_ID_TAKEN", None),
            RewardError::GrantExists { field } => (Code::AlreadyExists, "GRANT_EXISTS", Some(("field", field))),
            RewardError::WithoutStock => (Code::FailedPrecondition, "REWARD_WITHOUT_STOCK", None),
            RewardError::BelowTaken { left } => (Code::FailedPrecondition, "STOCK_BELOW_TAKEN", Some(("left", left.to_string()))),
            RewardError::WishExists { field } => (Code::AlreadyExists, "WISH_EXISTS", Some(("field", field.to_owned()))),
            RewardError::Untimely(untimely) => return *untimely,
            RewardError::OfflineUseExists { field } => (Code::AlreadyExists, "OFFLINE_USE_EXISTS", Some(("field", field))),
            RewardError::OfflineCodeExpired => (Code::FailedPrecondition, "OFFLINE_CODE_EXPIRED", None),
            RewardError::OfflineLimitExceeded { limit } => {
                (Code::FailedPrecondition, "OFFLINE_LIMIT_EXCEEDED", Some(("limit", limit.to_string())))
            }
            RewardError::OnlineOnly => (Code::FailedPrecondition, "VOUCHER_ONLINE_ONLY", None),
            RewardError::OfflineCodeTooLong => (Code::FailedPrecondition, "OFFLINE_CODE_TOO_LONG", None),
            RewardError::NotApplicable(obstacles) => {
                let names: Vec<_> = obstacles.iter().map(obstacle_name).collect();
                let missing = obstacles.iter().filter_map(missing);
                let metadata = std::iter::once(("obstacles", names.join(","))).chain(missing);
                return with_reason(Code::FailedPrecondition, "VOUCHER_NOT_APPLICABLE", text, metadata);
            }
        };
        with_reason(code, reason, text, metadata)
    }
}

/// How much more it takes.
fn missing(obstacle: &Obstacle) -> Option<(&'static str, String)> {
    match obstacle {
        Obstacle::MinimumSpend { missing } => Some(("missing_minor_units", missing.to_string())),
        Obstacle::Pieces { missing } => Some(("missing_pieces", missing.to_string())),
        _ => None,
    }
}

/// An obstacle in metadata: as the contract has it, without the prefix.
fn obstacle_name(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Used => "USED",
        Obstacle::Revoked => "REVOKED",
        Obstacle::Refunded => "REFUNDED",
        Obstacle::Expired => "EXPIRED",
        Obstacle::Member => "MEMBER",
        Obstacle::MinimumSpend { .. } => "MINIMUM_SPEND",
        Obstacle::Items => "ITEMS",
        Obstacle::Store => "STORE",
        Obstacle::Channel => "CHANNEL",
        Obstacle::Time => "TIME",
        Obstacle::FirstOrder => "FIRST_ORDER",
        Obstacle::Dormancy => "DORMANCY",
        Obstacle::Pieces { .. } => "PIECES",
        Obstacle::NothingGained => "NOTHING_GAINED",
        Obstacle::Combining => "COMBINING",
        Obstacle::Audience => "AUDIENCE",
        Obstacle::Birthday => "BIRTHDAY",
    }
}
