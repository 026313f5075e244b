//! How far members have come with ladders and streaks, and the vouchers that these give.

use std::sync::Arc;
use std::time::Duration;

use persistence::{DueEffect, Error};
use prost::Message;
use proto::common::Role;
use proto::points as pb;
use rpc::wire::Page;
use rpc::{Caller, EffectTarget, Programs, status};
use tokio::time::Instant;
use tonic::Status;
use tonic_types::StatusExt;

use super::parse::parse_member;
use super::{Call, Rpcs};
use crate::domain::Challenge;
use crate::error;
use crate::gifts::Gift;
use crate::message;

/// How long an attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Why a voucher will never be issued, however often it is asked for.
const FOREVER: [&str; 3] = ["MEMBER_CLOSED", "REWARD_RETIRED", "REWARD_OVER"];

/// Issues the vouchers that steps and streaks give, and takes them back.
pub(crate) struct Vouchers(pub(crate) Arc<Rpcs>);

impl EffectTarget for Vouchers {
    async fn ensure(&self, due: &DueEffect) -> Result<(), Status> {
        let gift = Gift::decode(&due.effect.payload[..]);
        let Gift { member, reward } = gift.map_err(|_| status::from_store(Error::Corrupt("column payload of effects".to_owned())))?;
        let caller = Caller { key_id: "internal".to_owned(), role: Role::Service, programs: Programs::All, terminal: None, store: None };
        let call = Call { caller, deadline: Instant::now() + ATTEMPT_MAX };
        let request = pb::EnsureVoucherRequest {
            member,
            reward,
            wish_key: due.effect.key.clone(),
            wanted: due.effect.wanted,
            version: due.version,
            reason: pb::GrantReason::Ladder.into(),
            request_id: format!("{}/{}/{}", due.effect.key, due.version, due.attempt),
        };
        match self.0.ensure_voucher(&call, request).await {
            Err(refused) if is_forever(&refused) => {
                tracing::warn!(effect = due.effect.key, "a voucher for a challenge will never be issued");
                Ok(())
            }
            done => done.map(|_| ()),
        }
    }
}

fn is_forever(refused: &Status) -> bool {
    refused.get_details_error_info().is_some_and(|info| FOREVER.contains(&info.reason.as_str()))
}

impl Rpcs {
    pub(super) async fn member_challenges(
        &self,
        message: pb::ListMemberChallengesRequest,
    ) -> Result<pb::ListMemberChallengesResponse, Status> {
        let pb::ListMemberChallengesRequest { parent, page_size, page_token } = message;
        let (program, member) = parse_member("parent", &parent)?;
        let program = self.program(&program).await?;
        let versions = program.versions.as_ref().ok_or_else(|| error::version_missing(&program.id))?;
        let filter = ["challenges", &parent];
        let page = Page::<1>::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().map(|[id]| id.as_str());
        let (_, held) = self.surviving(&program.id, member).await?;
        let now = self.now();
        let version = versions.at(now);
        let mut running: Vec<&Challenge> = version.terms.challenges.iter().filter(|challenge| challenge.is_running(now)).collect();
        running.sort_unstable_by_key(|challenge| &challenge.id);
        running.retain(|challenge| after.is_none_or(|after| *challenge.id > *after));
        let (running, next_page_token) = page.cut(running, |challenge| [challenge.id.to_string()]);
        let progress = |challenge: &Challenge| held.account.challenge_progress(challenge, version, now);
        Ok(pb::ListMemberChallengesResponse {
            challenges: running.into_iter().map(|challenge| message::challenges::progress(&program.id, &progress(challenge))).collect(),
            next_page_token,
        })
    }
}
