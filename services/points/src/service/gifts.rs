//! What is given by itself, carried out: the other end of the wishes that [`crate::gifts`] writes.

use std::sync::Arc;
use std::time::Duration;

use persistence::{DueEffect, Error};
use prost::Message;
use proto::common::Role;
use proto::points as pb;
use rpc::{Caller, EffectTarget, Programs, status};
use tokio::time::Instant;
use tonic::Status;
use tonic_types::StatusExt;

use super::{Call, Rpcs};
use crate::gifts::{Gift, OF_OCCASIONS};

/// How long an attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Why something will never be given, however often it is asked for.
const FOREVER: [&str; 3] = ["MEMBER_CLOSED", "REWARD_RETIRED", "REWARD_OVER"];
/// Why a gift for an occasion will not be given besides: whoever is blocked when it is due gets nothing.
const OCCASION_MISSED: &str = "MEMBER_BLOCKED";

/// Gives what steps, streaks and occasions give, and takes vouchers of the former back.
#[derive(Clone)]
pub(crate) struct Gifts(pub(crate) Arc<Rpcs>);

impl EffectTarget for Gifts {
    async fn ensure(&self, due: &DueEffect) -> Result<(), Status> {
        let gift = Gift::decode(&due.effect.payload[..]);
        let gift = gift.map_err(|_| status::from_store(Error::Corrupt("column payload of effects".to_owned())))?;
        let caller = Caller { key_id: "internal".to_owned(), role: Role::Service, programs: Programs::All, terminal: None, store: None };
        let call = Call { caller, deadline: Instant::now() + ATTEMPT_MAX };
        let done = if gift.points > 0 { self.give_points(&call, due, gift).await } else { self.give_voucher(&call, due, gift).await };
        match done {
            Err(refused) if is_forever(due, &refused) => {
                tracing::warn!(kind = due.effect.kind, effect = due.effect.key, "a gift will never be given");
                Ok(())
            }
            done => done,
        }
    }
}

impl Gifts {
    async fn give_points(&self, call: &Call, due: &DueEffect, gift: Gift) -> Result<(), Status> {
        let key = due.effect.key.clone();
        // The last part of the key tells it from all others, and a request id must not be long.
        let id = key.rsplit('/').next().unwrap_or(&key);
        let request = pb::EnsureRewardRequest {
            request_id: format!("{id}/{}/{}", due.version, due.attempt),
            member: gift.member,
            points: gift.points,
            wanted: due.effect.wanted,
            version: due.version,
            reason: gift.title,
            reward_key: key,
            wallet: gift.wallet,
        };
        let parsed = self.0.parse_ensure(call, &request).await?;
        self.0.submit(call, parsed, &request.request_id, &request).await.map(|_| ())
    }

    async fn give_voucher(&self, call: &Call, due: &DueEffect, gift: Gift) -> Result<(), Status> {
        let reason = match gift.reason() {
            pb::GrantReason::Unspecified => pb::GrantReason::Ladder,
            reason => reason,
        };
        let request = pb::EnsureVoucherRequest {
            member: gift.member,
            reward: gift.reward,
            wish_key: due.effect.key.clone(),
            wanted: due.effect.wanted,
            version: due.version,
            reason: reason.into(),
            request_id: format!("{}/{}/{}", due.effect.key, due.version, due.attempt),
        };
        self.0.ensure_voucher(call, request).await.map(|_| ())
    }
}

fn is_forever(due: &DueEffect, refused: &Status) -> bool {
    let is_missed = |reason: &str| due.effect.kind == OF_OCCASIONS && reason == OCCASION_MISSED;
    refused.get_details_error_info().is_some_and(|info| FOREVER.contains(&info.reason.as_str()) || is_missed(&info.reason))
}
