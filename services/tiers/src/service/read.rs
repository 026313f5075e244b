//! Answering questions about members.

use jiff::civil::Date;
use kernel::{MemberId, Timestamp, Uuid, Zone};
use persistence::Tx;
use proto::{common, tiers as pb};
use rpc::wire::{Page, timestamp};
use rust_decimal::Decimal;
use tonic::Status;

use super::{Rpcs, TierName, scheme_of, tier_name};
use crate::domain::progress::{self, Progress, progress};
use crate::domain::scheme::NEVER;
use crate::domain::timeline::{Source, since};
use crate::error::Error;
use crate::evaluation::{Found, Known};
use crate::store::{self, Member, StoredTransition};

impl Rpcs {
    pub(super) async fn member_tier(&self, message: pb::GetMemberTierRequest) -> Result<pb::MemberTier, Error> {
        let pb::GetMemberTierRequest { name } = message;
        let name = TierName::parse("name", &name)?;
        let program = self.program(&name.member.program).await?;
        let mut tx = self.database.read().await?;
        let versions = self.versions(&mut tx, &name.member.program, &name.scheme).await?;
        if versions.is_empty() {
            return Err(Error::SchemeNotFound);
        }
        let known = Known::read(&mut tx, &name.member, &name.scheme, versions).await?;
        let now = self.context.now();
        let found = known.find(&mut tx, &name.member, now.into(), now, &program.zone).await?;
        answer(&mut tx, &name, &known, &found, now, &program.zone).await
    }

    pub(super) async fn holdings(&self, message: pb::ListTierHoldingsRequest) -> Result<pb::ListTierHoldingsResponse, Status> {
        let pb::ListTierHoldingsRequest { parent, level, page_size, page_token } = message;
        let (program, scheme) = scheme_of("parent", &parent)?;
        let filter = ["holdings", &parent, &level];
        let page: Page<'_, 1> = Page::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().and_then(|[after]| Uuid::try_parse(after).ok()).unwrap_or_default();
        let mut tx = self.database.read().await.map_err(Error::from)?;
        if self.versions(&mut tx, &program, &scheme).await.map_err(Error::from)?.is_empty() {
            return Err(Error::SchemeNotFound.into());
        }
        let level = Some(&*level).filter(|level| !level.is_empty());
        let found = store::holdings(&mut tx, &program, &scheme, level, MemberId(after), page.limit()).await.map_err(Error::from)?;
        let (found, next_page_token) = page.cut(found, |(member, _)| [member.to_string()]);
        let holdings = found
            .into_iter()
            .map(|(id, standing)| pb::TierHolding {
                name: tier_name(&Member { program: program.clone(), id }, &scheme),
                level: standing.level_id.unwrap_or_default(),
                source: enum_number(standing.source),
                start_time: standing.start_time.map(|time| timestamp(time.into())),
                end_time: standing.end_time.map(|time| timestamp(time.into())),
            })
            .collect();
        Ok(pb::ListTierHoldingsResponse { holdings, next_page_token })
    }

    pub(super) async fn transitions(&self, message: pb::ListTierTransitionsRequest) -> Result<pb::ListTierTransitionsResponse, Status> {
        let pb::ListTierTransitionsRequest { parent, page_size, page_token } = message;
        let name = TierName::parse("parent", &parent)?;
        let filter = ["transitions", &parent];
        let page: Page<'_, 1> = Page::parse(&filter, page_size, &page_token)?;
        let before = page.after.as_ref().and_then(|[version]| version.parse().ok()).unwrap_or(i64::MAX);
        let mut tx = self.database.read().await.map_err(Error::from)?;
        let found = store::list_transitions(&mut tx, &name.member, &name.scheme, before, page.limit()).await.map_err(Error::from)?;
        let (found, next_page_token) = page.cut(found, |entry| [entry.version.to_string()]);
        Ok(pb::ListTierTransitionsResponse { transitions: found.into_iter().map(transition).collect(), next_page_token })
    }
}

fn transition(entry: StoredTransition) -> pb::TierTransition {
    let StoredTransition {
        version,
        change,
        from_level,
        to_level,
        source,
        multiplier,
        start_time,
        end_time,
        cause,
        cause_name,
        cause_event_id,
        scheme_version,
        record_time,
    } = entry;
    pb::TierTransition {
        version,
        change: enum_number(Some(change)),
        from_level: from_level.unwrap_or_default(),
        to_level: to_level.unwrap_or_default(),
        source: enum_number(source),
        multiplier: multiplier.unwrap_or_else(|| Decimal::ONE.to_string()),
        start_time: Some(timestamp(start_time.into())),
        end_time: end_time.map(|time| timestamp(time.into())),
        cause: enum_number(Some(cause)),
        cause_name,
        cause_event_id,
        scheme_version,
        record_time: Some(timestamp(record_time.into())),
    }
}

/// Columns hold the numbers of the contract; 0 is its "unspecified".
fn enum_number(column: Option<i64>) -> i32 {
    column.and_then(|number| i32::try_from(number).ok()).unwrap_or_default()
}

/// A member's tier as it is found at `now`.
pub(super) async fn answer(
    tx: &mut Tx,
    name: &TierName,
    known: &Known,
    found: &Found,
    now: Timestamp,
    zone: &Zone,
) -> Result<pb::MemberTier, Error> {
    let today = now.date_in(zone);
    let figures = progress(&known.versions, &known.points(), &found.walk, today, zone);
    let held = found.spans.last().and_then(|span| span.held.as_ref());
    let earned = found.walk.held.as_ref();
    // A told end may have been put off since by a purchase; what is known now is what the walk says.
    let end = match held {
        Some(held) if held.source == Source::Granted => held.until,
        _ => earned.and_then(|(_, until)| start_of(*until, zone)),
    };
    let risk = match (held, end) {
        (Some(held), Some(end)) if held.source == Source::Granted => {
            let after = known.find(tx, &name.member, now.into(), end, zone).await?;
            let next = after.spans.last().and_then(|span| span.held.as_ref());
            Some(pb::Risk {
                level: held.level.clone(),
                time: Some(timestamp(end)),
                next_level: next.map_or_else(String::new, |held| held.level.clone()),
                points_to_stay: 0,
                renew_date: None,
            })
        }
        (Some(held), _) if held.source == Source::Earned => figures.loss.as_ref().map(|loss| risk(&held.level, loss, zone)),
        _ => None,
    };
    let Progress { points, first_day, opportunities, loss: _ } = figures;
    let nearest = opportunities.first();
    Ok(pb::MemberTier {
        name: name.name(),
        level: held.map_or_else(String::new, |held| held.level.clone()),
        source: enum_number(held.map(|held| store::source_number(held.source))),
        start_time: since(&found.spans).map(timestamp),
        end_time: end.map(timestamp),
        multiplier: held.map_or(Decimal::ONE, |held| held.multiplier).to_string(),
        earned_level: earned.map_or_else(String::new, |(level, _)| level.clone()),
        qualifying_points: points,
        period_start_date: first_day.map(date),
        next_level: nearest.map_or_else(String::new, |nearest| nearest.level.clone()),
        points_to_next: nearest.map_or(0, |nearest| nearest.missing),
        opportunities: opportunities.iter().map(|opportunity| self::opportunity(opportunity, zone)).collect(),
        risks: risk.into_iter().collect(),
        scheme_version: known.newest().version,
        evaluate_time: Some(timestamp(now)),
        next_evaluation_time: found.next.map(timestamp),
    })
}

fn opportunity(opportunity: &progress::Opportunity, zone: &Zone) -> pb::Opportunity {
    let progress::Opportunity { level, missing, until } = opportunity;
    pb::Opportunity { level: level.clone(), points_missing: *missing, end_time: start_of(*until, zone).map(timestamp) }
}

fn risk(level: &str, loss: &progress::Loss, zone: &Zone) -> pb::Risk {
    let progress::Loss { day, next, renewal } = loss;
    pb::Risk {
        level: level.to_owned(),
        time: start_of(*day, zone).map(timestamp),
        next_level: next.clone().unwrap_or_default(),
        points_to_stay: renewal.map_or(0, |renewal| renewal.points),
        renew_date: renewal.map(|renewal| date(renewal.day)),
    }
}

fn start_of(day: Date, zone: &Zone) -> Option<Timestamp> {
    (day < NEVER).then(|| zone.start_of(day))
}

fn date(day: Date) -> common::Date {
    common::Date { year: day.year().into(), month: day.month().into(), day: day.day().into() }
}
