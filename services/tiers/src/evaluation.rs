//! Evaluating a member in a scheme: read what is known, let the domain find what holds, write what of it is news.

use std::collections::BTreeMap;

use kernel::{Context, Timestamp, Zone};
use persistence::{DbTime, Error, NewEvent, Tx};
use proto::events;
use proto::tiers::tier_transition::{Cause, Change as ChangeNumber};
use rpc::feed::About;
use rpc::wire::timestamp;
use rust_decimal::Decimal;

use crate::domain::earned::{Moment, Walk, walk};
use crate::domain::points::{Counted, Points};
use crate::domain::scheme::Scheme;
use crate::domain::timeline::{
    Change, Grant, Held, Purchases, Since, Span, at, change, correct, corrections, in_force, merge, moments, overlay, since,
};
use crate::store::{self, Member, Standing, StoredTransition};

/// News about what is longer ago than this tells old data, whatever made us look.
const NEWS_AGE_MAX: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// Why a member is evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Reason<'a> {
    /// What may be said anew of the past.
    pub(crate) since: Since,
    /// What happened.
    pub(crate) cause: Cause,
    /// The purchase, the grant or the scheme; empty for none.
    pub(crate) name: &'a str,
    /// The event that told; empty for none.
    pub(crate) event_id: &'a str,
    /// It tells old data.
    pub(crate) historical: bool,
}

/// All that is known of a member in a scheme.
pub(crate) struct Known {
    pub(crate) versions: Vec<Scheme>,
    pub(crate) counted: Vec<Counted>,
    grants: Vec<Grant>,
    /// When grants end that were not revoked.
    grant_ends: Vec<Timestamp>,
    /// What the log says.
    told: Vec<Span>,
    /// Version of the last entry of the log.
    version: i64,
    standing: Option<Standing>,
}

/// What was found.
pub(crate) struct Found {
    /// What is held, and was.
    pub(crate) spans: Vec<Span>,
    /// What of it is news.
    news: Vec<Span>,
    /// What is earned, at the end of the day of `now` or of the last purchase.
    pub(crate) walk: Walk,
    /// When something happens by itself.
    pub(crate) next: Option<Timestamp>,
    /// When something has happened by itself: a level or a grant ended, a version of the scheme began.
    by_itself: BTreeMap<Timestamp, Cause>,
}

impl Known {
    /// Reads it.
    pub(crate) async fn read(tx: &mut Tx, member: &Member, scheme: &str, versions: Vec<Scheme>) -> Result<Known, Error> {
        let grants = store::grants(tx, member, scheme).await?;
        let unrevoked = grants.iter().filter(|grant| grant.revoke_time.is_none());
        let log = store::transitions(tx, member, scheme).await?;
        let mut told = Vec::new();
        for entry in &log {
            correct(&mut told, &[entry.span()?]);
        }
        Ok(Known {
            versions,
            counted: store::day_points(tx, member).await?,
            grants: grants.iter().map(Grant::from).collect(),
            grant_ends: unrevoked.filter_map(|grant| grant.end_time).map(Timestamp::from).collect(),
            told,
            version: log.last().map_or(0, |entry| entry.version),
            standing: store::standing(tx, member, scheme).await?,
        })
    }

    /// The points as the scheme counts them.
    pub(crate) fn points(&self) -> Points {
        Points::new(&self.counted, self.newest().on_return)
    }

    /// The newest version.
    pub(crate) fn newest(&self) -> &Scheme {
        self.versions.last().expect("a scheme has a version")
    }

    /// What may be said anew of the past: what the reason allows, and what has fallen due before it. Who has never been evaluated
    /// is evaluated from the beginning.
    fn since(&self, reason: Since) -> Since {
        let Some(standing) = &self.standing else { return Since { raised: Timestamp::MIN, lowered: Timestamp::MIN } };
        let unseen = self.versions.iter().find(|version| version.version > standing.scheme_version).map(|version| version.start);
        let due = standing.next_evaluation_time.map(Timestamp::from).into_iter().chain(unseen).min();
        let lowered = due.map_or(reason.lowered, |due| due.min(reason.lowered));
        Since { raised: reason.raised.min(lowered), lowered }
    }

    /// Finds what holds and what of it is news.
    pub(crate) async fn find(&self, tx: &mut Tx, member: &Member, since: Since, now: Timestamp, zone: &Zone) -> Result<Found, Error> {
        let since = self.since(since);
        let points = self.points();
        // A till's clock may be ahead: what it sold tomorrow counts tomorrow.
        let last = points.days().last().map_or(now.date_in(zone), |last| last.max(now.date_in(zone)));
        let walk = walk(&self.versions, &points, last, zone);
        let purchases = self.purchases(tx, member, &walk, since.raised, zone).await?;
        let moments = moments(&walk.steps, &purchases, zone);
        let found = overlay(&self.versions, &walk.steps, &moments, &self.grants, now, zone);
        let merged = merge(&self.versions, &self.told, &found, since);
        let news = corrections(&self.told, &merged, since.raised);
        let mut spans = self.told.clone();
        correct(&mut spans, &news);

        let ends = self.grant_ends.iter().copied();
        let next = walk.next.map(|day| zone.start_of(day)).into_iter().chain(ends.clone().filter(|end| *end > now)).min();
        let steps = walk.steps.iter().zip(&moments).filter_map(|(step, moment)| match step.moment {
            Moment::DayStart => Some((*moment, Cause::Time)),
            Moment::Version(_) => Some((*moment, Cause::Scheme)),
            Moment::Purchase { .. } => None,
        });
        let by_itself = ends.map(|end| (end, Cause::Time)).chain(steps).collect();
        Ok(Found { spans, news, walk, next, by_itself })
    }

    /// The purchases of the days on which a level may have been reached that is news. What was before counts from the start of its
    /// day, and so does what the log knows already.
    async fn purchases(&self, tx: &mut Tx, member: &Member, walk: &Walk, from: Timestamp, zone: &Zone) -> Result<Purchases, Error> {
        let first = from.date_in(zone);
        let held = at(&self.told, from).map(|held| &held.level);
        let mut purchases = Purchases::new();
        for step in walk.steps.iter().filter(|step| step.day >= first && matches!(step.moment, Moment::Purchase { .. })) {
            if step.day > first || step.level.as_ref() != held {
                purchases.insert(step.day, store::purchases_of_day(tx, member, step.day, self.newest().on_return).await?);
            }
        }
        Ok(purchases)
    }
}

/// Evaluates a member in a scheme and writes what is news: the log, what is held, and the events. The member is locked.
pub(crate) async fn evaluate(
    tx: &mut Tx,
    context: &Context,
    zone: &Zone,
    member: &Member,
    scheme: &str,
    known: &Known,
    reason: &Reason<'_>,
) -> Result<Found, Error> {
    let now = context.now();
    let found = known.find(tx, member, reason.since, now, zone).await?;
    let mut version = known.version;
    let mut before = found.news.first().and_then(|first| at(&known.told, first.start)).map(|held| held.level.clone());
    for (index, span) in found.news.iter().enumerate() {
        version += 1;
        let entry = entry(known, version, before.as_deref(), span, &reason_for(&found, span, reason), now);
        store::insert_transition(tx, member, scheme, &entry).await?;
        let end = found.news.get(index + 1).map(|next| next.start);
        let aggregate_version = store::next_event_version(tx, member).await?;
        tx.append_event(event(context, member, scheme, &entry, aggregate_version, end, reason.historical)).await?;
        before = entry.to_level;
    }
    let standing = standing(known, &found);
    if known.standing.as_ref() != Some(&standing) {
        store::write_standing(tx, member, scheme, &standing).await?;
    }
    Ok(found)
}

fn entry(known: &Known, version: i64, before: Option<&str>, span: &Span, reason: &Reason<'_>, now: Timestamp) -> StoredTransition {
    let held = span.held.as_ref();
    let to = held.map(|held| held.level.clone());
    StoredTransition {
        version,
        change: i64::from(change_number(change(&known.versions, before, to.as_deref())) as i32),
        from_level: before.map(str::to_owned),
        to_level: to,
        source: held.map(|held| store::source_number(held.source)),
        multiplier: held.map(|held| held.multiplier.to_string()),
        start_time: DbTime(span.start),
        end_time: held.and_then(|held| held.until).map(DbTime),
        cause: i64::from(reason.cause as i32),
        cause_name: reason.name.to_owned(),
        cause_event_id: reason.event_id.to_owned(),
        scheme_version: in_force(&known.versions, span.start).version,
        record_time: DbTime(now),
    }
}

/// What happened by itself has no other reason, whatever made us look.
fn reason_for<'a>(found: &Found, span: &Span, reason: &Reason<'a>) -> Reason<'a> {
    match found.by_itself.get(&span.start) {
        Some(cause) if *cause != reason.cause => Reason { cause: *cause, name: "", event_id: "", ..reason.clone() },
        _ => reason.clone(),
    }
}

fn change_number(change: Change) -> ChangeNumber {
    match change {
        Change::Joined => ChangeNumber::Joined,
        Change::Upgraded => ChangeNumber::Upgraded,
        Change::Downgraded => ChangeNumber::Downgraded,
        Change::Prolonged => ChangeNumber::Prolonged,
        Change::Left => ChangeNumber::Left,
    }
}

fn standing(known: &Known, found: &Found) -> Standing {
    let held = found.spans.last().and_then(|span| span.held.as_ref());
    Standing {
        level_id: held.map(|held| held.level.clone()),
        source: held.map(|Held { source, .. }| store::source_number(*source)),
        start_time: since(&found.spans).map(DbTime),
        end_time: held.and_then(|held| held.until).map(DbTime),
        next_evaluation_time: found.next.map(DbTime),
        scheme_version: known.newest().version,
    }
}

/// The event of an entry. It stays open where the entry is the last one: a tier ends by the next event and not by itself, so that
/// nobody loses a multiplier because this service was late.
fn event(
    context: &Context,
    member: &Member,
    scheme: &str,
    entry: &StoredTransition,
    aggregate_version: i64,
    end: Option<Timestamp>,
    historical: bool,
) -> NewEvent {
    let start = Timestamp::from(entry.start_time);
    let change = ChangeNumber::try_from(i32::try_from(entry.change).unwrap_or_default()).unwrap_or_default();
    let payload = events::TierChanged {
        scheme: format!("{}/schemes/{scheme}", member.program.name()),
        previous_tier: entry.from_level.clone().unwrap_or_default(),
        tier: entry.to_level.clone().unwrap_or_default(),
        multiplier: entry.multiplier.clone().unwrap_or_else(|| Decimal::ONE.to_string()),
        start_time: Some(timestamp(start)),
        end_time: end.map(timestamp),
        change: change.as_str_name().trim_start_matches("CHANGE_").to_owned(),
    };
    let about = About {
        program: member.program.name(),
        member: member.name(),
        aggregate: member.name(),
        aggregate_version,
        occur_time: start,
        historical: historical || context.now().since(start) > NEWS_AGE_MAX,
    };
    rpc::feed::event(context, about, events::event::Payload::TierChanged(payload))
}
