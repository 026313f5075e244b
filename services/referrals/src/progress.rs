//! How a referral moves: the only place that moves one, with what follows from the move in the same transaction.
//!
//! Whoever calls holds the lock of the friend's row, so that one referral moves once at a time.

use kernel::{Context, MemberId, ProgramId, Uuid};
use persistence::{Effect, Error, Tx};
use prost::Message;
use proto::events::ReferralChanged;
use proto::events::event::Payload;
use proto::points::EnsureRewardRequest;
use rpc::feed::About;

use crate::domain::{Friend, LegState, Origin, Plan, Referral, Role};
use crate::{rewards, store};

/// Moves the referral that binds a friend as far as what is known of the friend takes it.
pub(crate) async fn settle(tx: &mut Tx, context: &Context, (program, friend): (&ProgramId, MemberId), known: &Friend) -> Result<(), Error> {
    // Nothing follows from less, and most members are nobody's friends.
    if known.first_purchase.is_none() {
        return Ok(());
    }
    let now = context.now();
    let Some(mut referral) = store::binding_referral(tx, program, friend).await? else { return Ok(()) };
    let Some(origin) = referral.origin.clone() else { return Ok(()) };
    let plan = store::plan(tx, program, &origin.plan, origin.plan_version).await?;
    let plan = plan.ok_or_else(|| Error::Corrupt("a referral's plan is missing".to_owned()))?;
    while let Some(next) = referral.next(&plan, known, now) {
        let next = within_limit(tx, &referral, next, &origin, &plan).await?;
        moved(tx, context, &referral, &next).await?;
        referral = next;
    }
    Ok(())
}

/// A referral with the lock of its friend, which is taken before the referral is read.
pub(crate) async fn locked_referral(tx: &mut Tx, program: &ProgramId, id: Uuid) -> Result<Option<Referral>, Error> {
    let Some(referral) = store::referral(tx, program, id).await? else { return Ok(None) };
    store::locked_friend(tx, program, referral.friend).await?;
    store::referral(tx, program, id).await
}

/// Counts the advocate's reward against the plan's limit when it becomes wanted; past the limit it is withheld.
async fn within_limit(tx: &mut Tx, before: &Referral, next: Referral, origin: &Origin, plan: &Plan) -> Result<Referral, Error> {
    let wants = next.rewards_advocate() && !before.rewards_advocate();
    if wants && !store::take_reward(tx, &next.program, &origin.code, plan.advocate_reward_limit).await? {
        return Ok(next.advocate_withheld());
    }
    Ok(next)
}

/// Writes a new referral and tells the feed.
pub(crate) async fn begun(tx: &mut Tx, context: &Context, referral: &Referral) -> Result<(), Error> {
    store::insert_referral(tx, referral).await?;
    tell(tx, context, referral).await
}

/// Writes a referral in its next state, tells the feed, and asks for the rewards that are now to be given or taken back.
pub(crate) async fn moved(tx: &mut Tx, context: &Context, before: &Referral, next: &Referral) -> Result<(), Error> {
    written(tx, before, next).await?;
    for (was, leg) in before.legs.iter().zip(&next.legs).filter(|(was, leg)| was.state != leg.state) {
        let wanted = match leg.state {
            LegState::Wanted => true,
            LegState::Revoking => false,
            LegState::Awaiting | LegState::Issued | LegState::Revoked | LegState::Cancelled | LegState::Withheld => continue,
        };
        debug_assert_eq!(was.role, leg.role, "legs keep their places");
        tx.want_effect(&reward(next, leg.role, leg.points, wanted)?, context.now()).await?;
    }
    tell(tx, context, next).await
}

/// Writes a referral as it now is. A reward that its advocate no longer gets makes room under the plan's limit.
pub(crate) async fn written(tx: &mut Tx, before: &Referral, next: &Referral) -> Result<(), Error> {
    store::update_referral(tx, next).await?;
    if before.rewards_advocate()
        && !next.rewards_advocate()
        && let Some(origin) = &next.origin
    {
        store::return_reward(tx, &next.program, &origin.code).await?;
    }
    Ok(())
}

/// What the points service is to be told. The worker adds the version and the request id.
fn reward(referral: &Referral, role: Role, points: i64, wanted: bool) -> Result<Effect, Error> {
    let member = referral.member(role).ok_or_else(|| Error::Corrupt("a reward without a member".to_owned()))?;
    let request = EnsureRewardRequest {
        member: member.name(&referral.program),
        reward_key: referral.reward_key(role),
        points,
        wanted,
        version: 0,
        reason: "referral".to_owned(),
        request_id: String::new(),
        wallet: String::new(),
    };
    Ok(Effect { key: referral.reward_key(role), kind: rewards::KIND.to_owned(), wanted, payload: request.encode_to_vec() })
}

/// Tells of a referral's version. The lock of the friend's row keeps the friend's events in order.
async fn tell(tx: &mut Tx, context: &Context, referral: &Referral) -> Result<(), Error> {
    let friend = referral.friend.name(&referral.program);
    let about = About {
        program: referral.program.name(),
        member: friend.clone(),
        aggregate: referral.name(),
        aggregate_version: referral.version,
        occur_time: context.now(),
        historical: false,
    };
    let changed = ReferralChanged {
        referral: referral.name(),
        advocate: referral.member(Role::Advocate).map(|member| member.name(&referral.program)).unwrap_or_default(),
        friend,
        state: referral.state.as_str().to_owned(),
    };
    tx.append_event(rpc::feed::event(context, about, Payload::ReferralChanged(changed))).await
}
