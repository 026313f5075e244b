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
use crate::domain::timeline::{Change, Grant, Held, Span, at, change, correct, corrections, in_force, moments, overlay, since};
use crate::store::{self, Member, Standing, StoredTransition};

/// News about what is longer ago than this tells old data, whatever made us look.
const NEWS_AGE_MAX: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// Why a member is evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Reason<'a> {
    /// From when on something may be different.
    pub(crate) from: Timestamp,
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
}

impl Known {
    /// Reads it.
    pub(crate) async fn read(tx: &mut Tx, member: &Member, scheme: &str, versions: Vec<Scheme>) -> Result<Known, Error> {
        let log = store::transitions(tx, member, scheme).await?;
        let mut told = Vec::new();
        for entry in &log {
            correct(&mut told, &[entry.span()?]);
        }
        Ok(Known {
            versions,
            counted: store::day_points(tx, member).await?,
            grants: store::grants(tx, member, scheme).await?,
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

    /// From when on the log may have to say something else: the reason's moment, or what was due before it. Who has never been
    /// evaluated is evaluated from the beginning.
    fn from(&self, reason: Timestamp) -> Timestamp {
        match &self.standing {
            None => Timestamp::MIN,
            Some(standing) => standing.next_evaluation_time.map_or(reason, |due| reason.min(due.into())),
        }
    }

    /// Finds what holds and what of it is news from a moment on.
    pub(crate) async fn find(&self, tx: &mut Tx, member: &Member, from: Timestamp, now: Timestamp, zone: &Zone) -> Result<Found, Error> {
        let from = self.from(from);
        let points = self.points();
        // A till's clock may be ahead: what it sold tomorrow counts tomorrow.
        let last = points.days().last().map_or(now.date_in(zone), |last| last.max(now.date_in(zone)));
        let walk = walk(&self.versions, &points, last, zone);

        // The exact moment matters only where it can be news; what was before counts from the start of its day.
        let first = from.date_in(zone);
        let days = walk.steps.iter().filter(|step| step.day >= first && matches!(step.moment, Moment::Purchase { .. }));
        let mut purchases = BTreeMap::new();
        for day in days.map(|step| step.day) {
            purchases.insert(day, store::purchases_of_day(tx, member, day, self.newest().on_return).await?);
        }
        let moments = moments(&walk.steps, &purchases, zone);
        let found = overlay(&self.versions, &walk.steps, &moments, &self.grants, now, zone);

        let mut spans = self.told.clone();
        let news = corrections(&spans, &found, from);
        correct(&mut spans, &news);
        let grants = self.grants.iter().flat_map(|grant| [Some(grant.start), grant.end]).flatten().filter(|moment| *moment > now);
        let next = walk.next.map(|day| zone.start_of(day)).into_iter().chain(grants).min();
        Ok(Found { spans, news, walk, next })
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
    let found = known.find(tx, member, reason.from, now, zone).await?;
    let mut version = known.version;
    let mut before = found.news.first().and_then(|first| at(&known.told, first.start)).map(|held| held.level.clone());
    for (index, span) in found.news.iter().enumerate() {
        version += 1;
        let entry = entry(known, version, before.as_deref(), span, reason, now);
        store::insert_transition(tx, member, scheme, &entry).await?;
        let end = found.news.get(index + 1).map(|next| next.start);
        let aggregate_version = store::next_event_version(tx, member).await?;
        tx.append_event(event(context, member, scheme, &entry, aggregate_version, end, reason.historical)).await?;
        before = entry.to_level;
    }
    let standing = standing(&found);
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

fn change_number(change: Change) -> ChangeNumber {
    match change {
        Change::Joined => ChangeNumber::Joined,
        Change::Upgraded => ChangeNumber::Upgraded,
        Change::Downgraded => ChangeNumber::Downgraded,
        Change::Prolonged => ChangeNumber::Prolonged,
        Change::Left => ChangeNumber::Left,
    }
}

fn standing(found: &Found) -> Standing {
    let held = found.spans.last().and_then(|span| span.held.as_ref());
    Standing {
        level_id: held.map(|held| held.level.clone()),
        source: held.map(|Held { source, .. }| store::source_number(*source)),
        start_time: since(&found.spans).map(DbTime),
        end_time: held.and_then(|held| held.until).map(DbTime),
        next_evaluation_time: found.next.map(DbTime),
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
