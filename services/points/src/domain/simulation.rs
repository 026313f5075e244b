//! A member's past played again under other terms, by the functions that the ledger works with.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kernel::{Timestamp, Uuid};

use super::{
    Account, AccountId, Activity, Award, Command, Entry, EntryKind, Explanation, Facts, Gift, Known, Ledger, Line, MAIN_WALLET,
    MemberStatus, Outcome, Purchase, PurchaseId, PurchaseInput, Refusal, Resolve, Source, Stamp, Versions,
};

/// Something of a member's past.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A purchase, with what has gone back of it.
    Bought(Box<Purchase>),
    /// Something that earns without a purchase.
    Did(Box<Did>),
    /// A challenge has given something, or taken it back, for what happened then.
    Given(Box<Entry>, Timestamp),
}

/// An activity, and what has become of it.
#[derive(Clone, Debug)]
pub struct Did {
    activity: Activity,
    stamp: Stamp,
    fate: Fate,
    /// What it has earned.
    pub had: Credit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Had,
    Waits,
    Rejected,
}

/// Points, and when they lapse by their own date.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Credit {
    /// How many.
    pub points: i64,
    /// `None` for never, and where that moment moves on or is not known yet.
    pub lapses_at: Option<Timestamp>,
}

/// What challenges have given and not taken back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gifts(BTreeMap<Uuid, Gained>);

/// One thing that a challenge has given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gained {
    /// The challenge.
    pub challenge: Arc<str>,
    /// Points.
    pub credit: Credit,
    /// Vouchers.
    pub vouchers: i64,
}

impl Gifts {
    /// Takes an entry in that gives something that is meant, or takes back what these have.
    pub fn take(&mut self, entry: &Entry, is_meant: bool) {
        let Source::Challenge { challenge, given, reward, .. } = &entry.source else { return };
        let is_given = entry.kind == EntryKind::Reward;
        let is_meant = if is_given { is_meant } else { self.0.contains_key(given) };
        if !is_meant {
            return;
        }
        let nothing = || Gained { challenge: challenge.clone(), credit: Credit::default(), vouchers: 0 };
        let gained = self.0.entry(*given).or_insert_with(nothing);
        if is_given {
            // Given again, the entry has only what did not stay with the member.
            let whole = entry.tallied.iter().flat_map(|change| &change.given).find(|known| known.id == *given);
            let points = whole.map_or(0, |whole| if let Gift::Points(points, None) = whole.gift { points } else { 0 });
            gained.credit = Credit { points, lapses_at: lapses_at(entry).or(gained.credit.lapses_at) };
        } else {
            // As with purchases it is what is deserved that counts, and not what of it the member had spent and keeps by the terms.
            gained.credit.points = 0;
        }
        if reward.is_some() {
            gained.vouchers += if is_given { 1 } else { -1 };
        }
    }

    /// What is left of it.
    pub fn left(&self) -> impl Iterator<Item = &Gained> {
        self.0.values().filter(|gained| gained.credit.points != 0 || gained.vouchers != 0)
    }
}

/// What an entry changes in the main wallet, which alone is told of.
fn main_points(entry: &Entry) -> i64 {
    if *entry.wallet == *MAIN_WALLET { entry.points } else { 0 }
}

/// When what an entry credits lapses.
fn lapses_at(entry: &Entry) -> Option<Timestamp> {
    entry.lots.iter().find(|lot| lot.points > 0)?.key.lapses_at(None)
}

/// What entries of an account tell of its own member, in their order. `bought` has the purchases, as they are now.
pub fn past(entries: Vec<Entry>, mut bought: impl FnMut(&PurchaseId) -> Option<Purchase>) -> Vec<Happened> {
    let mut decided: HashMap<Uuid, (EntryKind, Option<Timestamp>)> = HashMap::new();
    for entry in entries.iter().filter(|entry| matches!(entry.kind, EntryKind::Activate | EntryKind::Cancel)) {
        let gates = entry.lots.iter().filter_map(|lot| lot.key.gate()).map(|gate| gate.operation);
        decided.extend(gates.chain(entry.decided.iter().copied()).map(|operation| (operation, (entry.kind, lapses_at(entry)))));
    }
    let acted: HashMap<Uuid, Timestamp> = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Activity)
        .map(|entry| (entry.stamp.operation, entry.stamp.occurred_at))
        .collect();
    // An approval gives for when what it approves was done: its operation, and when that was.
    let mut approved: Option<(Uuid, Timestamp)> = None;
    let happened = |entry: Entry| {
        if let Some(at) = entry.decided.first().and_then(|operation| acted.get(operation)) {
            approved = Some((entry.stamp.operation, *at));
        }
        // What was done in another's name is his.
        if entry.stamp.presented.is_some() {
            return None;
        }
        match (entry.kind, &entry.source) {
            // It posts one in the main wallet, whatever it earns in others.
            (EntryKind::Award, Source::Purchase(id)) if *entry.wallet == *MAIN_WALLET => Some(Happened::Bought(Box::new(bought(id)?))),
            (EntryKind::Activity, Source::Activity { activity, id }) => {
                let waits = !entry.waits.is_empty() || entry.lots.iter().any(|lot| lot.key.gate().is_some());
                let (fate, lapses_at) = match decided.get(&entry.stamp.operation) {
                    Some((EntryKind::Cancel, _)) => (Fate::Rejected, None),
                    Some((_, lapses_at)) => (Fate::Had, *lapses_at),
                    None => (if waits { Fate::Waits } else { Fate::Had }, lapses_at(&entry)),
                };
                let points = if fate == Fate::Rejected { 0 } else { main_points(&entry) };
                let activity = Activity { activity: activity.clone(), id: id.clone(), proof: Some(Uuid::nil()) };
                Some(Happened::Did(Box::new(Did { activity, fate, had: Credit { points, lapses_at }, stamp: entry.stamp })))
            }
            (EntryKind::Reward | EntryKind::RewardRevoked, Source::Challenge { .. }) => {
                let by_approval = approved.filter(|(operation, _)| *operation == entry.stamp.operation);
                let at = by_approval.map_or(entry.stamp.occurred_at, |(_, at)| at);
                Some(Happened::Given(Box::new(entry), at))
            }
            _ => None,
        }
    };
    entries.into_iter().filter_map(happened).collect()
}

impl Happened {
    /// When it happened.
    pub fn occurred_at(&self) -> Timestamp {
        match self {
            Happened::Bought(purchase) => purchase.occurred_at,
            Happened::Did(did) => did.stamp.occurred_at,
            Happened::Given(_, at) => *at,
        }
    }
}

/// One member's past under other terms. It is played in the order in which it was recorded.
pub struct Simulation<'a> {
    id: AccountId,
    account: Account,
    versions: &'a Versions,
    facts: Facts,
    gifts: Gifts,
}

impl<'a> Simulation<'a> {
    /// A member with what is known of him; `versions` are the terms to try, without what members share ([`super::Terms::of_one_member`]).
    pub fn new(id: AccountId, versions: &'a Versions, facts: Facts) -> Simulation<'a> {
        // Who bought was admitted then.
        let facts = Facts { status: MemberStatus::Active, ..facts };
        Simulation { id, account: Account::default(), versions, facts, gifts: Gifts::default() }
    }

    /// What challenges would have given.
    pub fn gifts(&self) -> &Gifts {
        &self.gifts
    }

    /// A purchase before the time that is tried: it only counts as one.
    pub fn pass(&mut self, purchase: &Purchase) {
        self.account.purchases += 1;
        self.account.last_purchase_at = self.account.last_purchase_at.max(Some(purchase.occurred_at));
    }

    /// How the points of what is left of a purchase would have been worked out; `None` where a limit would have refused it. What has gone
    /// back since goes back at once.
    pub fn award(&mut self, purchase: &Purchase) -> Result<Option<(Explanation, Credit)>, Refusal> {
        let stamp = Stamp {
            operation: purchase.operation,
            terminal: purchase.terminal.clone(),
            store: purchase.store.clone(),
            cashier: purchase.cashier.clone(),
            occurred_at: purchase.occurred_at,
            ..Stamp::of_clock(purchase.recorded_at)
        };
        // The whole of it, as it was bought: what applied then is kept when something goes back.
        let whole = |line: &Line| Line { returned: 0, ..line.clone() };
        let lines = purchase.input.lines.iter().map(whole).collect();
        let input = PurchaseInput { lines, redemptions: Vec::new(), ..purchase.input.clone() };
        let command = Command::Award(Award { program: purchase.program.clone(), member: purchase.member, purchase: input });
        let awarded = match self.apply(&command, &stamp) {
            Ok((Outcome::Awarded { purchase: awarded, .. }, _)) => *awarded,
            Ok(_) | Err(Refusal::AwardLimit { .. }) => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let left = Purchase {
            input: PurchaseInput { redemptions: Vec::new(), ..purchase.input.clone() },
            remaining_net: purchase.remaining_net,
            amount_left: purchase.amount_left,
            ..awarded.clone()
        };
        let explanation = self.versions.at(purchase.occurred_at).points_for(&left.basket(), &awarded.facts)?;
        let lapses_at = awarded.lapses_at();
        if left != awarded {
            let mut ledger = Ledger::open(self.id, &mut self.account, self.versions, &self.facts, &stamp);
            ledger.take_back_to(&awarded, left, None, &Known::default(), None)?;
            ledger.entries.iter().for_each(|entry| self.gifts.take(entry, true));
        }
        let points = explanation.points();
        Ok(Some((explanation, Credit { points, lapses_at })))
    }

    /// What an activity would have earned; `None` where it would have been refused. What was approved, or was never to be, is approved at
    /// once, what was rejected is so where these terms ask, and what still waits does so.
    pub fn act(&mut self, did: &Did) -> Result<Option<Credit>, Refusal> {
        let Did { activity, stamp, fate, had: _ } = did;
        let points = match self.apply(&Command::Activity(activity.clone()), stamp) {
            Ok((Outcome::Earned { lot, .. }, entries)) => {
                let earned = entries.iter().filter(|entry| entry.kind == EntryKind::Activity);
                Credit { points: earned.map(main_points).sum(), lapses_at: lot.lapses_at(None) }
            }
            Ok(_) | Err(Refusal::ActivityNotFound { .. } | Refusal::ActivityLimit { .. } | Refusal::AwardLimit { .. }) => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let waits = self.account.unapproved.iter().any(|known| known.gate.operation == stamp.operation);
        if !waits || *fate == Fate::Waits {
            return Ok(Some(points));
        }
        let event: Arc<str> = activity.activity.as_str().into();
        let came = *fate == Fate::Had;
        let resolve = Resolve { event, reference: Some(activity.id.clone()), came, reason: String::new() };
        let (_, entries) = self.apply(&Command::Resolve(resolve), stamp)?;
        Ok(came.then(|| Credit { lapses_at: entries.first().and_then(lapses_at), ..points }))
    }

    fn apply(&mut self, command: &Command, stamp: &Stamp) -> Result<(Outcome, Vec<Entry>), Refusal> {
        let ledger = Ledger::open(self.id, &mut self.account, self.versions, &self.facts, stamp);
        let (outcome, entries) = ledger.apply(command, &Known::default())?;
        entries.iter().for_each(|entry| self.gifts.take(entry, true));
        Ok((outcome, entries))
    }
}
