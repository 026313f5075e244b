//! Rewards, given and taken back by the points service, each exactly once: the wish is a row written with the referral's move, the
//! call is repeated until it has succeeded or can never succeed, and the target knows the wish by its key and version.

use kernel::{ProgramId, Uuid, name};
use persistence::{Database, DueEffect, Error, retry};
use prost::Message;
use proto::points::EnsureRewardRequest;
use proto::points::points_service_client::PointsServiceClient;
use rpc::{EffectTarget, Peer, status};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::domain::{Role, Settlement};
use crate::progress;

/// The kind of these effects.
pub(crate) const KIND: &str = "referral-reward";

/// Calls the points service, and marks the leg of the referral when it has done what was wanted, or never will.
pub(crate) struct Rewards {
    pub(crate) database: Database,
    pub(crate) points: PointsServiceClient<Peer>,
}

impl EffectTarget for Rewards {
    async fn ensure(&self, due: &DueEffect) -> Result<(), Status> {
        let stored = EnsureRewardRequest::decode(&due.effect.payload[..]).map_err(|_| damaged("payload"))?;
        // A new id for each attempt: the ledger remembers a refusal under its id, and a member who is blocked today may be unblocked
        // tomorrow. What was done under an earlier id is known by the reward's key and version.
        let request_id = format!("{}/{}/{}", due.effect.key, due.version, due.attempt);
        let request = EnsureRewardRequest { version: due.version, request_id, ..stored };
        let leg = Leg::of(&request).ok_or_else(|| damaged("effect_key"))?;
        let settlement = match self.points.clone().ensure_reward(request).await {
            Ok(_) if leg.wanted => Settlement::Given,
            Ok(_) => Settlement::TakenBack,
            Err(refusal) if leg.wanted && is_member_closed(&refusal) => Settlement::Refused,
            Err(error) => return Err(error),
        };
        retry(|| self.try_mark(&leg, settlement)).await.map_err(status::from_store)
    }
}

/// Which leg of which referral a request is about.
struct Leg {
    program: ProgramId,
    referral: Uuid,
    role: Role,
    wanted: bool,
}

impl Leg {
    fn of(request: &EnsureRewardRequest) -> Option<Leg> {
        let (program, _) = name::member(&request.member).ok()?;
        let [referral, role] = name::segments(&request.reward_key, "referral/{referral}/{role}").ok()?;
        let role = [Role::Advocate, Role::Friend].into_iter().find(|known| known.as_str() == role)?;
        Some(Leg { program, referral: Uuid::try_parse(referral).ok()?, role, wanted: request.wanted })
    }
}

impl Rewards {
    /// A leg that wants something else by now, or is marked already, stays as it is.
    async fn try_mark(&self, leg: &Leg, settlement: Settlement) -> Result<(), Error> {
        let mut tx = self.database.begin().await?;
        if let Some(referral) = progress::locked_referral(&mut tx, &leg.program, leg.referral).await?
            && let Some(marked) = referral.settled(leg.role, settlement)
        {
            progress::written(&mut tx, &referral, &marked).await?;
        }
        tx.commit().await
    }
}

/// A closed member stays closed, unlike a blocked one: asking again would get the same answer for ever.
fn is_member_closed(refusal: &Status) -> bool {
    refusal.code() == Code::FailedPrecondition && refusal.get_details_error_info().is_some_and(|info| info.reason == "MEMBER_CLOSED")
}

fn damaged(column: &str) -> Status {
    status::from_store(Error::Corrupt(format!("column {column} of effects")))
}
