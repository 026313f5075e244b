//! What the points feed tells: purchases and returns.

use jiff::civil::Date;
use kernel::{ProgramId, Timestamp, name};
use persistence::Tx;
use proto::events::event::Payload;
use proto::events::{Event, PurchaseRecorded, PurchaseReturned};
use proto::tiers::tier_transition::Cause;
use rpc::{EventHandler, HandlerError};

use crate::domain::points::Counted;
use crate::domain::timeline::Since;
use crate::evaluation::{Known, Reason, evaluate};
use crate::service::Rpcs;
use crate::store::{self, Member, PurchaseChange};

/// A purchase or a return of a member, out of an event.
struct Told<'a> {
    member: Member,
    purchase: &'a str,
    is_return: bool,
    points: i64,
    occur_time: Timestamp,
}

impl EventHandler for Rpcs {
    async fn handle(&self, tx: &mut Tx, event: &Event) -> Result<(), HandlerError> {
        let Some(told) = told(event)? else { return Ok(()) };
        let program = self.directory.program(&told.member.program).await?;
        let zone = program.ok_or_else(|| HandlerError::refused("the event's program is not in the directory"))?.zone.clone();
        store::lock_member(tx, &told.member).await?;
        if !record(tx, &told, event.aggregate_version, told.occur_time.date_in(&zone)).await? {
            return Ok(());
        }
        let purchase = format!("{}/purchases/{}", told.member.program.name(), told.purchase);
        let reason = Reason {
            since: Since { raised: told.occur_time, lowered: if told.is_return { told.occur_time } else { self.context.now() } },
            cause: if told.is_return { Cause::Return } else { Cause::Purchase },
            name: &purchase,
            event_id: &event.event_id,
            historical: event.historical,
        };
        for (scheme, versions) in self.locked_versions(tx, &told.member.program, None).await? {
            let known = Known::read(tx, &told.member, &scheme, versions).await?;
            evaluate(tx, &self.context, &zone, &told.member, &scheme, &known, &reason).await?;
        }
        Ok(())
    }
}

/// Writes a purchase or return and what it counts. False when it was there already.
async fn record(tx: &mut Tx, told: &Told<'_>, version: i64, day: Date) -> Result<bool, persistence::Error> {
    let Told { member, purchase, is_return, points, occur_time } = told;
    let counted_day = if *is_return { store::counted_day(tx, member, purchase).await? } else { Some(day) };
    let change = PurchaseChange {
        purchase,
        version,
        is_return: *is_return,
        occur_time: *occur_time,
        counted_day,
        known_day: counted_day.map_or(day, |counted| counted.max(day)),
        points: *points,
    };
    if !store::insert_change(tx, member, &change).await? {
        return Ok(false);
    }
    if let Some(counted) = counted_day {
        store::add_day_points(tx, member, Counted { day: counted, known: change.known_day, points: *points }).await?;
    }
    if !is_return {
        for (known, points) in store::attribute_returns(tx, member, purchase, day).await? {
            store::add_day_points(tx, member, Counted { day, known: known.max(day), points }).await?;
        }
    }
    Ok(true)
}

/// What an event says that counts here; `None` for strangers, for what moves no base points, and for other events.
fn told(event: &Event) -> Result<Option<Told<'_>>, HandlerError> {
    let (purchase, is_return, points) = match &event.payload {
        Some(Payload::PurchaseRecorded(PurchaseRecorded { purchase, base_points, .. })) => (purchase, false, *base_points),
        Some(Payload::PurchaseReturned(PurchaseReturned { purchase, base_points_delta, .. })) => (purchase, true, *base_points_delta),
        _ => return Ok(None),
    };
    if event.member.is_empty() || points == 0 {
        return Ok(None);
    }
    let nonsense = |what: &str| HandlerError::refused(format!("a purchase event has no valid {what}"));
    if is_return == (points > 0) {
        return Err(nonsense("points"));
    }
    let (program, id) = name::member(&event.member).map_err(|_| nonsense("member"))?;
    let [of_program, purchase] = name::segments(purchase, "programs/{program}/purchases/{purchase}").map_err(|_| nonsense("purchase"))?;
    if ProgramId::parse(of_program).as_ref() != Ok(&program) {
        return Err(nonsense("program"));
    }
    let time = event.occur_time.as_ref().and_then(|time| Timestamp::from_parts(time.seconds, time.nanos));
    let occur_time = time.ok_or_else(|| nonsense("time"))?;
    Ok(Some(Told { member: Member { program, id }, purchase, is_return, points, occur_time }))
}
