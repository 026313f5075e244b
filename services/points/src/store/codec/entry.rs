use kernel::{MemberId, Timestamp, Uuid};
use persistence::Error;
use prost::{Message, Oneof};

use super::account::{StoredIdentity, StoredMergedIdentity, StoredReservation};
use super::tally::{StoredChallenge, StoredTally};
use super::{
    StoredCount, StoredGivenUp, StoredLot, StoredUnapproved, account_id, corrupt, decode, given_up, lot, stored_given_up, time, uuid,
};
use crate::domain::{AccountId, Count, Counting, Entry, GivenUp, LotChange, PoolChange, PurchaseId, Source, TallyChange, Unapproved};

/// The part of an entry that has no columns.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct StoredEntry {
    #[prost(message, repeated, tag = "1")]
    lots: Vec<StoredLot>,
    #[prost(sint64, tag = "2")]
    pub(in crate::store) deficit_delta: i64,
    #[prost(oneof = "StoredSource", tags = "3, 4, 5, 6, 7, 17, 18, 19, 20, 21, 22, 23, 24, 30, 31, 35, 40")]
    source: Option<StoredSource>,
    #[prost(int64, tag = "8")]
    pub(in crate::store) program_version: i64,
    #[prost(int64, tag = "9")]
    pub(in crate::store) fact_version: i64,
    #[prost(string, tag = "10")]
    pub(in crate::store) request_id: String,
    #[prost(string, tag = "11")]
    pub(in crate::store) actor: String,
    #[prost(string, tag = "12")]
    pub(in crate::store) terminal: String,
    #[prost(string, tag = "13")]
    pub(in crate::store) store: String,
    #[prost(bytes = "vec", tag = "14")]
    presented: Vec<u8>,
    #[prost(int64, optional, tag = "15")]
    sliding_until: Option<i64>,
    #[prost(int64, optional, tag = "16")]
    remind_at: Option<i64>,
    #[prost(message, repeated, tag = "25")]
    given_up: Vec<StoredGivenUp>,
    #[prost(message, repeated, tag = "32")]
    counted: Vec<StoredCount>,
    #[prost(message, repeated, tag = "34")]
    tallied: Vec<StoredTally>,
    #[prost(message, optional, tag = "33")]
    shared: Option<StoredShared>,
    #[prost(message, repeated, tag = "51")]
    waits: Vec<StoredUnapproved>,
    #[prost(bytes = "vec", repeated, tag = "52")]
    decided: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "44")]
    freed: Vec<Vec<u8>>,
}

/// What concerns others than the member.
#[derive(Clone, PartialEq, Message)]
struct StoredShared {
    #[prost(message, repeated, tag = "1")]
    counted: Vec<StoredCount>,
    #[prost(string, tag = "2")]
    cashier: String,
}

#[derive(Clone, PartialEq, Oneof)]
enum StoredSource {
    #[prost(string, tag = "3")]
    Purchase(String),
    #[prost(message, tag = "4")]
    Reservation(StoredHold),
    #[prost(string, tag = "5")]
    Reference(String),
    #[prost(message, tag = "6")]
    Reward(StoredReward),
    #[prost(message, tag = "7")]
    Correction(StoredCorrection),
    #[prost(message, tag = "17")]
    Activity(StoredActivity),
    #[prost(string, tag = "18")]
    Event(String),
    #[prost(message, tag = "19")]
    Redemption(StoredRedemption),
    #[prost(message, tag = "20")]
    Expiry(StoredCorrection),
    #[prost(message, tag = "21")]
    Transfer(StoredCounterpart),
    #[prost(message, tag = "22")]
    Merge(StoredMerge),
    #[prost(message, tag = "23")]
    Unmerge(StoredUnmerge),
    #[prost(message, tag = "24")]
    Reminder(StoredReminder),
    #[prost(message, tag = "30")]
    Pool(StoredPoolChange),
    #[prost(message, tag = "31")]
    Pooled(StoredCounterpart),
    #[prost(message, tag = "35")]
    Challenge(StoredChallenge),
    #[prost(message, tag = "40")]
    Catalogue(StoredCatalogue),
}

#[derive(Clone, PartialEq, Message)]
struct StoredHold {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(int64, tag = "2")]
    hold_until: i64,
    #[prost(string, tag = "3")]
    reference: String,
    #[prost(bool, tag = "4")]
    several: bool,
    #[prost(bool, tag = "5")]
    stays_open: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCatalogue {
    #[prost(string, tag = "1")]
    reward: String,
    #[prost(bytes = "vec", tag = "2")]
    voucher: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredReward {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCorrection {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    approver: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredActivity {
    #[prost(string, tag = "1")]
    activity: String,
    #[prost(string, tag = "2")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredRedemption {
    #[prost(bytes = "vec", tag = "1")]
    operation: Vec<u8>,
    #[prost(string, optional, tag = "2")]
    purchase: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCounterpart {
    #[prost(bytes = "vec", tag = "1")]
    member: Vec<u8>,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredMerge {
    #[prost(message, required, tag = "1")]
    counterpart: StoredCounterpart,
    #[prost(message, repeated, tag = "2")]
    identities: Vec<StoredMergedIdentity>,
    #[prost(int64, tag = "3")]
    purchases: i64,
    #[prost(message, repeated, tag = "4")]
    reservations: Vec<StoredReservation>,
    #[prost(int64, optional, tag = "5")]
    let_go_at: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    last_purchase_at: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredUnmerge {
    #[prost(message, required, tag = "1")]
    counterpart: StoredCounterpart,
    #[prost(bytes = "vec", tag = "2")]
    account: Vec<u8>,
    #[prost(int64, tag = "3")]
    purchases: i64,
    #[prost(int64, optional, tag = "30")]
    last_purchase_at: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredReminder {
    #[prost(int64, tag = "1")]
    expires_at: i64,
    #[prost(int64, tag = "2")]
    points: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPoolChange {
    #[prost(message, required, tag = "1")]
    identity: StoredIdentity,
    /// 1 opened, 2 invited, 3 joined, 4 shares or not, 5 left.
    #[prost(int32, tag = "2")]
    change: i32,
    #[prost(bool, tag = "3")]
    shares: bool,
}

impl StoredPoolChange {
    fn of(identity: &(AccountId, MemberId), change: PoolChange) -> StoredPoolChange {
        let (change, shares) = match change {
            PoolChange::Opened { shares } => (1, shares),
            PoolChange::Invited => (2, false),
            PoolChange::Joined { shares } => (3, shares),
            PoolChange::Shares(shares) => (4, shares),
            PoolChange::Left => (5, false),
        };
        StoredPoolChange { identity: StoredIdentity::of(identity), change, shares }
    }

    fn change(&self) -> Result<PoolChange, Error> {
        let shares = self.shares;
        Ok(match self.change {
            1 => PoolChange::Opened { shares },
            2 => PoolChange::Invited,
            3 => PoolChange::Joined { shares },
            4 => PoolChange::Shares(shares),
            5 => PoolChange::Left,
            _ => return Err(corrupt("change of a pool")),
        })
    }
}

impl StoredCounterpart {
    fn of(member: MemberId, reason: &str) -> StoredCounterpart {
        StoredCounterpart { member: member.0.as_bytes().to_vec(), reason: reason.to_owned() }
    }

    fn member(&self) -> Result<MemberId, Error> {
        Ok(MemberId(uuid(&self.member, "other member of an entry")?))
    }
}

fn stored_source(source: &Source) -> Option<StoredSource> {
    let correction = |reason: &str, approver: &str| StoredCorrection { reason: reason.to_owned(), approver: approver.to_owned() };
    Some(match source {
        Source::Due => return None,
        Source::Challenge { .. } => StoredSource::Challenge(StoredChallenge::of(source)?),
        Source::Purchase(id) => StoredSource::Purchase(id.0.to_string()),
        Source::Reservation { id, hold_until, reference, several, stays_open } => StoredSource::Reservation(StoredHold {
            id: id.as_bytes().to_vec(),
            hold_until: hold_until.as_micros(),
            reference: reference.to_string(),
            several: *several,
            stays_open: *stays_open,
        }),
        Source::Reference(reference) => StoredSource::Reference(reference.clone()),
        Source::Reward { key, reason } => StoredSource::Reward(StoredReward { key: key.clone(), reason: reason.clone() }),
        Source::Catalogue { reward, voucher } => {
            StoredSource::Catalogue(StoredCatalogue { reward: reward.to_string(), voucher: voucher.as_bytes().to_vec() })
        }
        Source::Correction { reason, approver } => StoredSource::Correction(correction(reason, approver)),
        Source::Expiry { reason, approver } => StoredSource::Expiry(correction(reason, approver)),
        Source::Activity { activity, id } => StoredSource::Activity(StoredActivity { activity: activity.clone(), id: id.to_string() }),
        Source::Event(event) => StoredSource::Event(event.clone()),
        Source::Redemption { operation, purchase } => StoredSource::Redemption(StoredRedemption {
            operation: operation.as_bytes().to_vec(),
            purchase: purchase.as_ref().map(|id| id.0.to_string()),
        }),
        Source::Pooled { spender, reference } => StoredSource::Pooled(StoredCounterpart::of(*spender, reference)),
        Source::Transfer { member, reason } => StoredSource::Transfer(StoredCounterpart::of(*member, reason)),
        Source::Merge { member, reason, identities, purchases, last_purchase_at, let_go_at, reservations } => {
            StoredSource::Merge(StoredMerge {
                counterpart: StoredCounterpart::of(*member, reason),
                identities: identities.iter().map(StoredMergedIdentity::of).collect(),
                purchases: *purchases,
                last_purchase_at: last_purchase_at.map(Timestamp::as_micros),
                let_go_at: let_go_at.map(Timestamp::as_micros),
                reservations: reservations.iter().map(StoredReservation::of).collect(),
            })
        }
        Source::Unmerge { member, reason, account, purchases, last_purchase_at } => StoredSource::Unmerge(StoredUnmerge {
            counterpart: StoredCounterpart::of(*member, reason),
            account: account.0.as_bytes().to_vec(),
            purchases: *purchases,
            last_purchase_at: last_purchase_at.map(Timestamp::as_micros),
        }),
        Source::Pool { member, account, change } => StoredSource::Pool(StoredPoolChange::of(&(*account, *member), *change)),
        Source::Reminder { expires_at, points } => {
            StoredSource::Reminder(StoredReminder { expires_at: expires_at.as_micros(), points: *points })
        }
    })
}

impl StoredShared {
    fn of(entry: &Entry) -> Option<StoredShared> {
        let (counted, cashier): (Vec<_>, _) = (entry.counted_of_all().map(StoredCount::of).collect(), &*entry.stamp.cashier);
        (!counted.is_empty() || !cashier.is_empty()).then(|| StoredShared { counted, cashier: cashier.to_owned() })
    }
}

impl StoredEntry {
    pub(in crate::store) fn of(entry: &Entry) -> StoredEntry {
        StoredEntry {
            lots: entry.lots.iter().map(|change| lot(&change.key, change.points, change.reserved)).collect(),
            deficit_delta: entry.deficit_delta,
            source: stored_source(&entry.source),
            program_version: entry.program_version,
            fact_version: entry.fact_version,
            request_id: entry.stamp.request_id.to_string(),
            actor: entry.stamp.actor.to_string(),
            terminal: entry.stamp.terminal.to_string(),
            store: entry.stamp.store.to_string(),
            presented: entry.stamp.presented.map(|member| member.0.as_bytes().to_vec()).unwrap_or_default(),
            sliding_until: entry.sliding_until.map(Timestamp::as_micros),
            remind_at: entry.remind_at.map(Timestamp::as_micros),
            given_up: stored_given_up(&entry.given_up),
            counted: entry.counted.iter().filter(|count| count.by == Counting::Member).map(StoredCount::of).collect(),
            shared: StoredShared::of(entry),
            tallied: entry.tallied.iter().map(StoredTally::of_change).collect(),
            waits: entry.waits.iter().map(StoredUnapproved::of).collect(),
            decided: entry.decided.iter().map(|id| id.as_bytes().to_vec()).collect(),
            freed: entry.freed.iter().map(|key| key.as_bytes().to_vec()).collect(),
        }
    }

    pub(in crate::store) fn read(bytes: &[u8]) -> Result<StoredEntry, Error> {
        decode(bytes, "details of an entry")
    }

    pub(in crate::store) fn lots(&self) -> Result<Vec<LotChange>, Error> {
        self.lots.iter().map(|lot| Ok(LotChange { key: lot.key.key()?, points: lot.points, reserved: lot.reserved })).collect()
    }

    pub(in crate::store) fn presented(&self) -> Result<Option<MemberId>, Error> {
        if self.presented.is_empty() { Ok(None) } else { Ok(Some(MemberId(uuid(&self.presented, "member that was named")?))) }
    }

    pub(in crate::store) fn slides_until(&self) -> Option<Timestamp> {
        self.sliding_until.map(time)
    }

    /// Who spent what it takes, where it does not say so by whose account it is in.
    pub(in crate::store) fn spender(&self) -> Result<Option<MemberId>, Error> {
        match &self.source {
            Some(StoredSource::Pooled(spender)) => spender.member().map(Some),
            _ => self.presented(),
        }
    }

    /// Whether it spent points on a reward of the catalogue.
    pub(in crate::store) fn is_of_reward(&self) -> bool {
        matches!(self.source, Some(StoredSource::Catalogue(_)))
    }

    pub(in crate::store) fn given_up(&self) -> Result<Vec<GivenUp>, Error> {
        given_up(&self.given_up)
    }

    pub(in crate::store) fn counted(&self) -> Vec<Count> {
        self.counted.iter().map(|count| count.count(Counting::Member)).chain(self.counted_of_all()).collect()
    }

    /// What it counts that members share.
    pub(in crate::store) fn counted_of_all(&self) -> impl Iterator<Item = Count> {
        self.shared.iter().flat_map(|shared| &shared.counted).map(|count| count.count(Counting::Shared))
    }

    pub(in crate::store) fn cashier(&self) -> &str {
        self.shared.as_ref().map_or("", |shared| &shared.cashier)
    }

    pub(in crate::store) fn tallied(&self) -> Result<Vec<TallyChange>, Error> {
        self.tallied.iter().map(StoredTally::change).collect()
    }

    pub(in crate::store) fn waits(&self) -> Result<Vec<Unapproved>, Error> {
        self.waits.iter().map(StoredUnapproved::unapproved).collect()
    }

    pub(in crate::store) fn freed(&self) -> Result<Vec<Uuid>, Error> {
        self.freed.iter().map(|key| uuid(key, "link that was freed")).collect()
    }

    pub(in crate::store) fn decided(&self) -> Result<Vec<Uuid>, Error> {
        self.decided.iter().map(|id| uuid(id, "activity that was decided on")).collect()
    }

    pub(in crate::store) fn reminds_at(&self) -> Option<Timestamp> {
        self.remind_at.map(time)
    }

    pub(in crate::store) fn source(&self) -> Result<Source, Error> {
        Ok(match &self.source {
            None => Source::Due,
            Some(StoredSource::Challenge(challenge)) => challenge.source()?,
            Some(StoredSource::Purchase(id)) => Source::Purchase(PurchaseId(id.as_str().into())),
            Some(StoredSource::Reservation(hold)) => Source::Reservation {
                id: uuid(&hold.id, "reservation of an entry")?,
                hold_until: time(hold.hold_until),
                reference: hold.reference.as_str().into(),
                several: hold.several,
                stays_open: hold.stays_open,
            },
            Some(StoredSource::Reference(reference)) => Source::Reference(reference.clone()),
            Some(StoredSource::Reward(StoredReward { key, reason })) => Source::Reward { key: key.clone(), reason: reason.clone() },
            Some(StoredSource::Catalogue(StoredCatalogue { reward, voucher })) => {
                Source::Catalogue { reward: reward.as_str().into(), voucher: uuid(voucher, "voucher of an entry")? }
            }
            Some(StoredSource::Correction(StoredCorrection { reason, approver })) => {
                Source::Correction { reason: reason.clone(), approver: approver.clone() }
            }
            Some(StoredSource::Expiry(StoredCorrection { reason, approver })) => {
                Source::Expiry { reason: reason.clone(), approver: approver.clone() }
            }
            Some(StoredSource::Activity(StoredActivity { activity, id })) => {
                Source::Activity { activity: activity.clone(), id: id.as_str().into() }
            }
            Some(StoredSource::Event(event)) => Source::Event(event.clone()),
            Some(StoredSource::Redemption(StoredRedemption { operation, purchase })) => Source::Redemption {
                operation: uuid(operation, "redemption of an entry")?,
                purchase: purchase.as_deref().map(|id| PurchaseId(id.into())),
            },
            Some(StoredSource::Pooled(spender)) => Source::Pooled { spender: spender.member()?, reference: spender.reason.clone() },
            Some(StoredSource::Transfer(other)) => Source::Transfer { member: other.member()?, reason: other.reason.clone() },
            Some(StoredSource::Merge(merge)) => Source::Merge {
                member: merge.counterpart.member()?,
                reason: merge.counterpart.reason.clone(),
                identities: merge.identities.iter().map(StoredMergedIdentity::identity).collect::<Result<_, _>>()?,
                purchases: merge.purchases,
                last_purchase_at: merge.last_purchase_at.map(time),
                let_go_at: merge.let_go_at.map(time),
                reservations: merge.reservations.iter().cloned().map(StoredReservation::reservation).collect::<Result<_, _>>()?,
            },
            Some(StoredSource::Unmerge(unmerge)) => Source::Unmerge {
                member: unmerge.counterpart.member()?,
                reason: unmerge.counterpart.reason.clone(),
                account: account_id(&unmerge.account, "account that was let go")?.ok_or_else(|| corrupt("account that was let go"))?,
                purchases: unmerge.purchases,
                last_purchase_at: unmerge.last_purchase_at.map(time),
            },
            Some(StoredSource::Pool(pool)) => {
                let (account, member) = pool.identity.identity()?;
                Source::Pool { member, account, change: pool.change()? }
            }
            Some(StoredSource::Reminder(reminder)) => Source::Reminder { expires_at: time(reminder.expires_at), points: reminder.points },
        })
    }
}
