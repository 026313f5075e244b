//! The one write path of vouchers that move no points: granted, used, voided, revoked. They rest on no account, so they are carried out in
//! batches of their own, and hold up no award.

mod batch;

use std::sync::Arc;

use kernel::{Context, MemberId, Uuid};
use persistence::{Database, Error, Handler, RequestKey, retry};
use proto::points as pb;
use rpc::config::ClockConfig;

use self::batch::Batch;
use crate::domain::rewards::{Basket, Claim, CodeSeal, OfflineUse, Validity};
use crate::program::Program;
use crate::reward_error::RewardError;

/// Carries out batches of changes of vouchers.
pub(crate) struct VoucherHandler {
    pub(crate) database: Database,
    pub(crate) context: Context,
    /// What is believed of a till's clock.
    pub(crate) clock: ClockConfig,
}

/// One change on its way.
pub(crate) struct VoucherJob {
    pub(crate) program: Arc<Program>,
    pub(crate) key: RequestKey,
    pub(crate) change: VoucherChange,
}

/// What is to be done with a voucher.
pub(crate) enum VoucherChange {
    Grant(Grant),
    Ensure(Ensure),
    Use(UseVoucher),
    /// The order that it was used for was cancelled.
    Void {
        voucher: Uuid,
        member: MemberId,
        order: String,
    },
    /// It is to be worthless.
    Revoke {
        voucher: Uuid,
        member: MemberId,
        reason: String,
    },
}

impl VoucherChange {
    /// What is about one thing is carried out in one lane, and so in one batch where it comes at once.
    pub(crate) fn lane(&self) -> Uuid {
        match self {
            VoucherChange::Grant(grant) => grant.key,
            VoucherChange::Ensure(ensure) => ensure.key,
            VoucherChange::Use(UseVoucher { code: ShownCode::Claim(claim), .. }) => claim.voucher,
            VoucherChange::Use(UseVoucher { code: ShownCode::Hashes(hashes), .. }) => {
                hashes.first().and_then(|hash| Uuid::from_slice(&hash[..16]).ok()).unwrap_or_default()
            }
            VoucherChange::Void { voucher, .. } | VoucherChange::Revoke { voucher, .. } => *voucher,
        }
    }
}

/// The voucher that will be issued, should one be.
pub(crate) struct Fresh {
    pub(crate) id: Uuid,
    pub(crate) seal: CodeSeal,
}

/// A voucher to be given.
pub(crate) struct Grant {
    pub(crate) member: MemberId,
    /// The hash of program and grant key.
    pub(crate) key: Uuid,
    pub(crate) validity: Validity,
    /// What it is worth and what members read, encoded.
    pub(crate) details: Arc<[u8]>,
    pub(crate) fresh: Fresh,
}

/// A voucher of a reward and the state that it should have.
pub(crate) struct Ensure {
    pub(crate) member: MemberId,
    /// The hash of program and wish key.
    pub(crate) key: Uuid,
    /// The reward's key.
    pub(crate) reward: Uuid,
    pub(crate) wanted: bool,
    pub(crate) version: i64,
    pub(crate) reason: pb::GrantReason,
    pub(crate) fresh: Fresh,
}

/// A voucher that is shown for an order.
pub(crate) struct UseVoucher {
    pub(crate) code: ShownCode,
    pub(crate) basket: Basket,
    pub(crate) order: String,
    /// It has happened at a till without a connection.
    pub(crate) offline: Option<OfflineUse>,
}

/// What is shown of a voucher.
pub(crate) enum ShownCode {
    /// What its code may be found by.
    Hashes(Vec<[u8; 32]>),
    /// What an offline code says, which was verified.
    Claim(Claim),
}

/// What a change is answered: now, or when the request came first.
pub(crate) struct Told {
    /// Encoded, as it is remembered.
    pub(crate) answer: Vec<u8>,
    pub(crate) replayed: bool,
}

impl Handler for VoucherHandler {
    type Command = VoucherJob;
    type Answer = Result<Told, RewardError>;
    type Error = Error;

    async fn execute(&self, jobs: &[VoucherJob]) -> Result<Vec<Result<Told, RewardError>>, Error> {
        retry(|| self.try_execute(jobs)).await
    }

    fn is_outage(error: &Error) -> bool {
        matches!(error, Error::Unavailable(_))
    }
}

impl VoucherHandler {
    /// One attempt is one transaction: lock and read, change one after the other, write, commit.
    async fn try_execute(&self, jobs: &[VoucherJob]) -> Result<Vec<Result<Told, RewardError>>, Error> {
        let now = self.context.now();
        let mut tx = self.database.begin().await?;
        let mut batch = Batch::load(&mut tx, jobs, &self.context, &self.clock, now).await?;
        let replies = jobs.iter().map(|job| batch.run(job)).collect::<Result<Vec<_>, Error>>()?;
        batch.write(&mut tx).await?;
        tx.commit().await?;
        Ok(replies)
    }
}
