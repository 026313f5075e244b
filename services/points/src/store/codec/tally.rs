use kernel::Timestamp;
use persistence::Error;
use prost::Message;

use super::{StoredKey, time, uuid};
use crate::domain::{Gift, Given, Mark, Source, Tallied, Tally, TallyChange};

/// A tally of an account, or a change of one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredTally {
    #[prost(string, tag = "1")]
    of: String,
    #[prost(message, repeated, tag = "2")]
    marks: Vec<StoredMark>,
    #[prost(message, repeated, tag = "3")]
    given: Vec<StoredGiven>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    dropped: Vec<Vec<u8>>,
    #[prost(sint64, tag = "5")]
    kept: i64,
    #[prost(int64, optional, tag = "6")]
    until: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredMark {
    #[prost(sint64, tag = "1")]
    unit: i64,
    #[prost(sint64, tag = "2")]
    times: i64,
    #[prost(sint64, tag = "3")]
    amount: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredGiven {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(sint64, tag = "2")]
    period: i64,
    #[prost(int64, tag = "3")]
    step: i64,
    #[prost(int64, tag = "4")]
    points: i64,
    /// Empty for points.
    #[prost(string, tag = "5")]
    reward: String,
    #[prost(message, optional, tag = "6")]
    lot: Option<StoredKey>,
    #[prost(int64, tag = "7")]
    at: i64,
    #[prost(int64, tag = "30")]
    stays: i64,
    #[prost(bool, tag = "31")]
    lost: bool,
    /// Of points; empty for the main one.
    #[prost(string, tag = "40")]
    wallet: String,
}

/// A step of a ladder or a streak that an entry is about.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredChallenge {
    #[prost(string, tag = "1")]
    challenge: String,
    #[prost(string, tag = "2")]
    title: String,
    #[prost(bytes = "vec", tag = "3")]
    given: Vec<u8>,
    #[prost(sint64, tag = "4")]
    period: i64,
    #[prost(int64, tag = "5")]
    step: i64,
    #[prost(string, optional, tag = "6")]
    reward: Option<String>,
}

/// A challenge that a purchase counts for.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredTallied {
    #[prost(string, tag = "1")]
    of: String,
    #[prost(sint64, tag = "2")]
    unit: i64,
}

impl StoredTally {
    pub(super) fn of(tally: &Tally) -> StoredTally {
        let Tally { of, marks, given, kept, until } = tally;
        StoredTally {
            of: of.to_string(),
            marks: marks.iter().map(StoredMark::of).collect(),
            given: given.iter().map(StoredGiven::of).collect(),
            dropped: Vec::new(),
            kept: *kept,
            until: until.map(Timestamp::as_micros),
        }
    }

    pub(super) fn tally(&self) -> Result<Tally, Error> {
        let TallyChange { of, marks, given, dropped: _, kept, until } = self.change()?;
        Ok(Tally { of, marks, given, kept, until })
    }

    pub(super) fn of_change(change: &TallyChange) -> StoredTally {
        let TallyChange { of, marks, given, dropped, kept, until } = change;
        StoredTally {
            of: of.to_string(),
            marks: marks.iter().map(StoredMark::of).collect(),
            given: given.iter().map(StoredGiven::of).collect(),
            dropped: dropped.iter().map(|id| id.as_bytes().to_vec()).collect(),
            kept: *kept,
            until: until.map(Timestamp::as_micros),
        }
    }

    pub(super) fn change(&self) -> Result<TallyChange, Error> {
        Ok(TallyChange {
            of: self.of.as_str().into(),
            marks: self.marks.iter().map(|mark| Mark { unit: mark.unit, times: mark.times, amount: mark.amount }).collect(),
            given: self.given.iter().map(StoredGiven::given).collect::<Result<_, _>>()?,
            dropped: self.dropped.iter().map(|id| uuid(id, "something given for a challenge")).collect::<Result<_, _>>()?,
            kept: self.kept,
            until: self.until.map(time),
        })
    }
}

impl StoredMark {
    fn of(Mark { unit, times, amount }: &Mark) -> StoredMark {
        StoredMark { unit: *unit, times: *times, amount: *amount }
    }
}

impl StoredGiven {
    fn of(given: &Given) -> StoredGiven {
        let (points, wallet, reward) = match &given.gift {
            Gift::Points(points, wallet) => (*points, wallet.as_deref().unwrap_or_default().to_owned(), String::new()),
            Gift::Reward(reward) => (0, String::new(), reward.to_string()),
        };
        StoredGiven {
            id: given.id.as_bytes().to_vec(),
            period: given.period,
            step: given.step,
            points,
            reward,
            lot: given.lot.as_ref().map(StoredKey::from),
            at: given.at.as_micros(),
            stays: given.stays,
            lost: given.lost,
            wallet,
        }
    }

    fn given(&self) -> Result<Given, Error> {
        Ok(Given {
            id: uuid(&self.id, "something given for a challenge")?,
            period: self.period,
            step: self.step,
            gift: match (&*self.reward, &*self.wallet) {
                ("", "") => Gift::Points(self.points, None),
                ("", wallet) => Gift::Points(self.points, Some(wallet.into())),
                (reward, _) => Gift::Reward(reward.into()),
            },
            lot: self.lot.as_ref().map(StoredKey::key).transpose()?,
            at: time(self.at),
            stays: self.stays,
            lost: self.lost,
        })
    }
}

impl StoredChallenge {
    /// Of a source that is a challenge's; `None` for others.
    pub(super) fn of(source: &Source) -> Option<StoredChallenge> {
        let Source::Challenge { challenge, title, given, period, step, reward } = source else { return None };
        Some(StoredChallenge {
            challenge: challenge.to_string(),
            title: title.to_string(),
            given: given.as_bytes().to_vec(),
            period: *period,
            step: *step,
            reward: reward.as_ref().map(ToString::to_string),
        })
    }

    pub(super) fn source(&self) -> Result<Source, Error> {
        Ok(Source::Challenge {
            challenge: self.challenge.as_str().into(),
            title: self.title.as_str().into(),
            given: uuid(&self.given, "something given for a challenge")?,
            period: self.period,
            step: self.step,
            reward: self.reward.as_deref().map(Into::into),
        })
    }
}

impl StoredTallied {
    pub(super) fn of(Tallied { of, unit }: &Tallied) -> StoredTallied {
        StoredTallied { of: of.to_string(), unit: *unit }
    }

    pub(super) fn tallied(&self) -> Tallied {
        Tallied { of: self.of.as_str().into(), unit: self.unit }
    }
}
