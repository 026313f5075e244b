//! What the feeds of members and points tell: who enrolled with which code, and what friends buy and bring back.
//!
//! The two feeds do not wait for each other. Each fact is merged into the friend's row, and whatever then follows is done; so
//! the order in which they are heard makes no difference. An event that comes again finds its fact there and changes nothing.

use kernel::{Context, MemberId, ProgramId, Timestamp, name};
use persistence::Tx;
use proto::events::event::Payload;
use proto::events::{Event, MemberEnrolled, PurchaseRecorded, PurchaseReturned};
use rpc::{EventHandler, HandlerError};

use crate::domain::{CodeText, Purchase, Referral, State};
use crate::{progress, store};

/// Hears both feeds.
pub(crate) struct Listener {
    pub(crate) context: Context,
}

impl EventHandler for Listener {
    /// Events of strangers and of other kinds are passed over.
    async fn handle(&self, tx: &mut Tx, event: &Event) -> Result<(), HandlerError> {
        let fact = match &event.payload {
            _ if event.member.is_empty() => return Ok(()),
            Some(Payload::MemberEnrolled(enrolled)) => {
                let (program, member) = subject(event)?;
                return hear_enrolment(tx, &self.context, (&program, member), enrolled, occur_time(event)?).await;
            }
            Some(Payload::PurchaseRecorded(recorded)) if recorded.first_purchase => first_purchase(recorded, occur_time(event)?)?,
            Some(Payload::PurchaseReturned(returned)) => goods_back(returned)?,
            _ => return Ok(()),
        };
        let (program, member) = subject(event)?;
        learn(tx, &self.context, (&program, member), fact).await
    }
}

/// What a friend did, to be merged with what is known.
enum Fact {
    Bought(Purchase),
    Returned { purchase: String, remaining_minor: i64, complete: bool },
}

/// The enrolment never fails here: a code that cannot be used leaves a rejected referral.
async fn hear_enrolment(
    tx: &mut Tx,
    context: &Context,
    (program, member): (&ProgramId, MemberId),
    enrolled: &MemberEnrolled,
    enroll_time: Timestamp,
) -> Result<(), HandlerError> {
    let known = store::locked_friend(tx, program, member).await?;
    if known.enroll_time.is_some() {
        return Ok(());
    }
    let now = context.now();
    let known = known.enrolled(enroll_time);
    store::update_friend(tx, program, member, &known).await?;
    if !enrolled.referral_code.is_empty() {
        let code = match CodeText::parse(&enrolled.referral_code) {
            Some(text) => store::locked_code(tx, program, &text).await?,
            None => None,
        };
        let plan = match &code {
            Some(code) => store::newest_plan(tx, program, &code.plan).await?,
            None => None,
        };
        let already_referred = store::binding_referral(tx, program, member).await?.is_some();
        let found = code.as_ref().zip(plan.as_ref());
        let referral = Referral::from_enrolment(context.uuid(), (program, member), enroll_time, found, already_referred, now);
        if let (State::Pending, Some(code)) = (&referral.state, code) {
            store::update_code(tx, &code.used()).await?;
        }
        progress::begun(tx, context, &referral).await?;
    }
    Ok(progress::settle(tx, context, (program, member), &known).await?)
}

/// Merges a fact about purchases, and does what follows if it was new.
async fn learn(tx: &mut Tx, context: &Context, (program, member): (&ProgramId, MemberId), fact: Fact) -> Result<(), HandlerError> {
    let before = store::locked_friend(tx, program, member).await?;
    let known = match fact {
        Fact::Bought(purchase) => before.clone().purchased(purchase),
        Fact::Returned { purchase, remaining_minor, complete } => before.clone().returned(&purchase, remaining_minor, complete),
    };
    if known == before {
        return Ok(());
    }
    store::update_friend(tx, program, member, &known).await?;
    Ok(progress::settle(tx, context, (program, member), &known).await?)
}

fn first_purchase(recorded: &PurchaseRecorded, occur_time: Timestamp) -> Result<Fact, HandlerError> {
    let net = recorded.net.as_ref().ok_or_else(|| HandlerError::refused("a purchase has no net"))?;
    Ok(Fact::Bought(Purchase {
        id: purchase_id(&recorded.purchase)?,
        occur_time,
        net_minor: net.minor_units,
        remaining_minor: net.minor_units,
        complete_return: false,
    }))
}

fn goods_back(returned: &PurchaseReturned) -> Result<Fact, HandlerError> {
    let remaining = returned.remaining.as_ref().ok_or_else(|| HandlerError::refused("a return does not say what remains"))?;
    let purchase = purchase_id(&returned.purchase)?;
    Ok(Fact::Returned { purchase, remaining_minor: remaining.minor_units, complete: returned.complete })
}

fn subject(event: &Event) -> Result<(ProgramId, MemberId), HandlerError> {
    name::member(&event.member).map_err(|_| HandlerError::refused("the member of an event has no name"))
}

fn purchase_id(purchase: &str) -> Result<String, HandlerError> {
    let segments = name::segments(purchase, "programs/{program}/purchases/{purchase}");
    let [_, id] = segments.map_err(|_| HandlerError::refused("a purchase has no name"))?;
    Ok(id.to_owned())
}

fn occur_time(event: &Event) -> Result<Timestamp, HandlerError> {
    let time = event.occur_time.as_ref().and_then(|time| Timestamp::from_parts(time.seconds, time.nanos));
    time.ok_or_else(|| HandlerError::refused("an event does not say when it occurred"))
}
