//! The rules of the ledger as tables and properties. `model` is an independent, naive ledger that keeps every credit apart.

mod agreement;
mod approvals;
mod calendar;
mod challenges;
mod changed_challenges;
mod conditions;
mod due;
mod earning;
mod limits;
mod merged_gifts;
mod merges;
mod model;
mod occasions;
mod pending;
mod pools;
mod promotions;
mod properties;
mod receipts;
mod refunds;
mod remarks;
mod simulating;
mod sliding;
mod staying;
mod stories;
mod tables;
mod town;
mod wallets;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::{CalendarUnit, Currency, MemberId, Period, ProgramId, Rounding, Timestamp, Uuid, Zone};
use rust_decimal::Decimal;

use super::*;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

pub(super) fn terms() -> Terms {
    Terms {
        points_per_unit: Decimal::ONE,
        earn_rates: Vec::new(),
        basis: Basis::default(),
        rounding: PointRounding::Down,
        activation: Activation::Immediate,
        life: Life::For(Period { count: 1, unit: CalendarUnit::Year }, Rounding::EndOfMonth),
        remind_before: None,
        wallets: Vec::new(),
        activities: Vec::new(),
        promotions: Promotions::default(),
        challenges: Vec::new(),
        limits: Vec::new(),
        occasions: Vec::new(),
        tier_deficit_caps: Vec::new(),
        return_policy: ReturnPolicy::Unlimited,
        deficit_cap: None,
        restore_grace: None,
        reservation_ttl: Duration::from_secs(900),
    }
}

/// An activity that earns so many points.
pub(super) fn review(points: i64) -> ActivityTerms {
    ActivityTerms { name: "review".to_owned(), points, limit: None, proof: false, approval: None, wallet: None }
}

pub(super) fn versions(terms: Terms) -> Versions {
    let version = Version {
        number: 1,
        terms: terms.into(),
        start_at: at("2026-01-01T00:00:00Z"),
        zone: Zone::UTC,
        currency: Currency::parse("USD").unwrap(),
    };
    Versions::new(vec![version]).unwrap()
}

/// One account with its clock, driven like the executor drives it: settle, then apply.
pub(super) struct Bench {
    pub(super) member: MemberId,
    /// The member that is named, where his account has been merged into this one.
    pub(super) presented: Option<MemberId>,
    pub(super) account: Account,
    pub(super) versions: Versions,
    pub(super) facts: Facts,
    pub(super) now: Timestamp,
    /// When what is told next happened; `None` for now.
    pub(super) occurred_at: Option<Timestamp>,
    pub(super) entries: Vec<Entry>,
    pub(super) purchases: Vec<Purchase>,
    pub(super) reward: Option<RewardState>,
    pub(super) redemptions: HashMap<Uuid, Redemption>,
    pub(super) closed: HashMap<Uuid, ClosedReservation>,
    /// What members share of what is limited.
    pub(super) shared: Vec<Count>,
    /// The wallet that is looked at.
    pub(super) wallet: &'static str,
    /// Every promotion that gives nothing is told.
    pub(super) tells_all: bool,
    /// Where and by whom things are sold.
    pub(super) store: &'static str,
    pub(super) terminal: &'static str,
    pub(super) cashier: &'static str,
    pub(super) operations: u128,
}

impl Bench {
    pub(super) fn new(terms: Terms) -> Bench {
        Bench {
            member: member(),
            presented: None,
            account: Account::default(),
            versions: versions(terms),
            facts: Facts::default(),
            now: at("2026-01-15T12:00:00Z"),
            occurred_at: None,
            entries: Vec::new(),
            purchases: Vec::new(),
            reward: None,
            redemptions: HashMap::new(),
            closed: HashMap::new(),
            shared: Vec::new(),
            wallet: MAIN_WALLET,
            tells_all: false,
            store: "",
            terminal: "",
            cashier: "",
            operations: 0,
        }
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        self.operations += 1;
        Stamp {
            operation: Uuid::from_u128((self.member.0.as_u128() - 7) * 1_000_000 + self.operations),
            request_id: "r".into(),
            actor: "apiKeys/k".into(),
            terminal: self.terminal.into(),
            store: self.store.into(),
            cashier: self.cashier.into(),
            presented: self.presented,
            occurred_at: self.occurred_at.unwrap_or(self.now),
            now: self.now,
        }
    }

    pub(super) fn id(&self) -> AccountId {
        AccountId::of(&program(), self.member)
    }

    pub(super) fn settle(&mut self) -> Settled {
        let stamp = Stamp { operation: Uuid::nil(), ..self.stamp() };
        let settled = Ledger::open(self.id(), &mut self.account, &self.versions, &self.facts, &stamp).settle();
        self.entries.extend(settled.entries.iter().cloned());
        settled.entries.iter().flat_map(Entry::counted_of_all).for_each(|change| self.count(change));
        self.closed.extend(settled.ended.iter().copied());
        settled
    }

    pub(super) fn run(&mut self, command: Command) -> Result<Outcome, Refusal> {
        self.settle();
        let named = self.presented.unwrap_or(self.member);
        let purchase = match &command {
            Command::Return(request) => {
                self.purchases.iter().find(|purchase| purchase.input.id == request.purchase && purchase.member == Some(named)).cloned()
            }
            _ => None,
        };
        let spent = match (&command, &purchase) {
            (Command::Refund(refund), _) => vec![refund.redemption],
            (Command::Award(award), _) => award.purchase.redemptions.clone(),
            (_, Some(purchase)) => purchase.input.redemptions.clone(),
            _ => Vec::new(),
        };
        let has = |account: AccountId| account == self.id() || self.account.has_merged(account);
        let spent_by = |redemption: &&Redemption| redemption.spender.is_some_and(|spender| has(AccountId::of(&program(), spender)));
        let holds = |redemption: &&Redemption| has(redemption.account) || (matches!(command, Command::Award(_)) && spent_by(redemption));
        let redemptions = spent.iter().filter_map(|id| self.redemptions.get(id)).filter(holds).cloned().collect();
        let closed_reservation = match &command {
            Command::Capture(Capture { reservation, .. }) | Command::Release(Release { reservation }) => {
                self.closed.get(reservation).copied()
            }
            _ => None,
        };
        let (reward, shared) = (self.reward.clone(), self.shared.clone());
        let known = Known { purchase, closed_reservation, reward, redemptions, shared, ..Known::default() };
        let stamp = self.stamp();
        let before = self.account.clone();
        let ledger = Ledger::open(self.id(), &mut self.account, &self.versions, &self.facts, &stamp);
        let ledger = if self.tells_all { ledger.telling_all() } else { ledger };
        let done = ledger.apply(&command, &known);
        match &done {
            Err(_) => assert_eq!(self.account, before, "a refusal changes nothing"),
            Ok((outcome, entries)) => {
                self.entries.extend(entries.iter().cloned());
                entries.iter().flat_map(Entry::counted_of_all).for_each(|change| self.count(change));
                match outcome {
                    Outcome::Awarded { purchase, .. } => self.purchases.push((**purchase).clone()),
                    Outcome::Returned(returned) => {
                        let id = &returned.purchase.input.id;
                        *self.purchases.iter_mut().find(|purchase| purchase.input.id == *id).unwrap() = returned.purchase.clone();
                        self.keep_refunds(&returned.restored);
                    }
                    Outcome::Ensured(state) => self.reward = Some(state.clone()),
                    Outcome::Captured { reservation, closed, .. } => {
                        if *closed {
                            self.closed.insert(reservation.id, ClosedReservation::Captured);
                        }
                        self.keep_redemption(stamp.operation, entries);
                    }
                    Outcome::Released { reservation } => {
                        self.closed.insert(reservation.id, ClosedReservation::Released);
                    }
                    Outcome::Redeemed { .. } => self.keep_redemption(stamp.operation, entries),
                    Outcome::Refunded(restored) => self.keep_refunds(restored),
                    _ => {}
                }
            }
        }
        self.check();
        done.map(|(outcome, _)| outcome)
    }

    fn count(&mut self, change: &Count) {
        match self.shared.iter_mut().find(|known| known.is_like(change)) {
            Some(known) => (known.times, known.points) = (known.times + change.times, known.points + change.points),
            None => self.shared.push(change.clone()),
        }
        assert!(self.shared.iter().all(|count| count.times >= 0 && count.points >= 0), "no more goes back than was counted");
    }

    fn keep_redemption(&mut self, operation: Uuid, entries: &[Entry]) {
        let Some(spent) = entries.iter().find(|entry| matches!(entry.kind, EntryKind::Redeem | EntryKind::Capture)) else { return };
        let lots = spent.lots.iter().map(|change| (change.key.clone(), -change.points)).collect();
        let redemption = Redemption {
            operation,
            account: self.id(),
            wallet: spent.wallet.clone(),
            lots,
            spender: spent.spender(),
            spent_at: spent.recorded_at,
            refunded: 0,
            of_reward: false,
        };
        self.redemptions.insert(operation, redemption);
    }

    fn keep_refunds(&mut self, restored: &Restored) {
        for redemption in &restored.redemptions {
            assert!(redemption.refunded <= redemption.points(), "no more comes back than was spent");
            self.redemptions.insert(redemption.operation, redemption.clone());
        }
    }

    /// Rule 1, and that the account is the fold of its entries.
    pub(super) fn check(&self) {
        let mut replayed = Account::default();
        for entry in &self.entries {
            replayed.evolve(entry);
            let wallet = replayed.wallet(&entry.wallet).unwrap();
            let after = (entry.active_after, entry.pending_after, entry.reserved_after, entry.deficit_after);
            assert_eq!(after, (wallet.active, wallet.pending, wallet.reserved, wallet.deficit));
        }
        assert_eq!(replayed, self.account, "an account is the fold of its entries");
        for wallet in &self.account.wallets {
            let posted: i64 = self.entries.iter().filter(|entry| entry.wallet == wallet.name).map(|entry| entry.points).sum();
            let lots: i64 = wallet.lots.iter().map(|lot| lot.points).sum();
            let spendable: i64 = wallet.lots.iter().filter(|lot| lot.key.is_open()).map(|lot| lot.points).sum();
            assert_eq!(posted, lots - wallet.deficit, "Σ entries = Σ lots − deficit");
            assert_eq!(wallet.active, spendable - wallet.reserved, "active = Σ active lots − reserved");
            assert_eq!(posted, wallet.active + wallet.pending + wallet.reserved - wallet.deficit);
            assert!(wallet.lots.is_sorted_by(|a, b| a.key < b.key), "lots stay in the order of their keys, each key once");
        }
        assert!(self.entries.is_sorted_by(|a, b| a.version + 1 == b.version && a.recorded_at < b.recorded_at));
    }

    pub(super) fn active(&self) -> i64 {
        self.account.active(self.wallet)
    }

    pub(super) fn deficit(&self) -> i64 {
        self.account.deficit(self.wallet)
    }

    pub(super) fn balances(&self) -> (i64, i64, i64, i64) {
        self.account.wallet(self.wallet).map_or((0, 0, 0, 0), |wallet| (wallet.active, wallet.pending, wallet.reserved, wallet.deficit))
    }
}

pub(super) fn program() -> ProgramId {
    ProgramId::parse("tea").unwrap()
}

pub(super) fn member() -> MemberId {
    MemberId(Uuid::from_u128(7))
}

pub(super) fn wallet() -> Arc<str> {
    MAIN_WALLET.into()
}

pub(super) fn award(id: &str, net: i64) -> Command {
    award_lines(id, net, Vec::new())
}

pub(super) fn award_lines(id: &str, net: i64, lines: Vec<Line>) -> Command {
    let purchase = PurchaseInput {
        id: PurchaseId(id.into()),
        net,
        tax: 0,
        discount: 0,
        lines,
        channel: "store".to_owned(),
        offer: String::new(),
        redemptions: Vec::new(),
    };
    Command::Award(Award { program: program(), member: Some(member()), purchase })
}

/// The same command about another wallet.
pub(super) fn within(wallet: &str, command: Command) -> Command {
    let wallet = wallet.into();
    match command {
        Command::Redeem(redeem) => Command::Redeem(Redeem { wallet, ..redeem }),
        Command::Reserve(reserve) => Command::Reserve(Reserve { wallet, ..reserve }),
        Command::Adjust(adjust) => Command::Adjust(Adjust { wallet, ..adjust }),
        Command::Ensure(ensure) => Command::Ensure(Ensure { wallet, ..ensure }),
        Command::SetExpiry(change) => Command::SetExpiry(SetExpiry { wallet, ..change }),
        Command::Forgive(forgive) => Command::Forgive(Forgive { wallet, ..forgive }),
        Command::Transfer(transfer) => Command::Transfer(Transfer { wallet, ..transfer }),
        other => other,
    }
}

/// The same command by another member.
pub(super) fn by(member: MemberId, command: Command) -> Command {
    match command {
        Command::Award(award) => Command::Award(Award { member: Some(member), ..award }),
        other => other,
    }
}

pub(super) fn line(id: &str, quantity: i64, net: i64) -> Line {
    Line { id: id.to_owned(), sku: String::new(), category: String::new(), quantity, net, tax: 0, discount: 0, returned: 0 }
}

pub(super) fn redeem(points: i64) -> Command {
    Command::Redeem(Redeem { wallet: wallet(), points, up_to: false, reference: String::new() })
}

pub(super) fn reserve(points: i64) -> Command {
    Command::Reserve(Reserve { wallet: wallet(), points, ttl: None, reference: "order 1".into(), several: false })
}

pub(super) fn adjust(points: i64) -> Command {
    Command::Adjust(Adjust { wallet: wallet(), points, reason: "goodwill".to_owned(), approver: "staff 7".to_owned() })
}

pub(super) fn activity(activity: &str, id: &str) -> Command {
    Command::Activity(Activity { activity: activity.to_owned(), id: id.into(), proof: None })
}

pub(super) fn refund(redemption: Uuid, points: Option<i64>) -> Command {
    Command::Refund(Refund { redemption, points })
}

pub(super) fn capture(reservation: Uuid, points: Option<i64>) -> Command {
    Command::Capture(Capture { reservation, points, last: false })
}

pub(super) fn set_expiry(to: NewExpiry) -> Command {
    Command::SetExpiry(SetExpiry { wallet: wallet(), lapsing_by: None, to, reason: "goodwill".to_owned(), approver: "staff 7".to_owned() })
}

pub(super) fn ensure(version: i64, wanted: bool, points: i64) -> Command {
    Command::Ensure(Ensure {
        key: "referral/1/FRIEND".to_owned(),
        wallet: wallet(),
        points,
        wanted,
        version,
        reason: "referral".to_owned(),
    })
}

pub(super) fn remaining(id: &str, net: i64) -> Command {
    Command::Return(Return { purchase: PurchaseId(id.into()), what: ReturnWhat::RemainingNet(net), give_back: None })
}

pub(super) fn back(id: &str, lines: &[(&str, i64)]) -> Command {
    let lines = lines.iter().map(|(line, quantity)| ((*line).to_owned(), *quantity)).collect();
    Command::Return(Return { purchase: PurchaseId(id.into()), what: ReturnWhat::Lines(lines), give_back: None })
}
