//! Whatever three members do in whatever order, the ledger and the model on paper agree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::model::{Credit, Model};
use super::stories::{Step, What, any_terms, steps};
use super::town::Town;
use super::*;

/// Another wallet, that has the model to itself: what the main one holds then is beside the point.
const STARS: &str = "stars";

/// Town and model side by side, with what the steps can name.
struct Story {
    wallet: &'static str,
    town: Town,
    model: Model,
    holds: Vec<(usize, Reservation)>,
    spends: Vec<(usize, Uuid)>,
    wish: i64,
    seen: Vec<String>,
}

impl Story {
    fn now(&self) -> Timestamp {
        self.town.benches[0].now
    }

    /// Runs a member's command in the ledger; the answer by its name is counted.
    fn run(&mut self, who: usize, command: Command) -> Result<Outcome, Refusal> {
        let done = self.town.run(who, within(self.wallet, command));
        self.count(&done);
        done
    }

    fn count(&mut self, done: &Result<Outcome, Refusal>) {
        let name = match done {
            Ok(outcome) => format!("{outcome:?}"),
            Err(refusal) => format!("{refusal:?}"),
        };
        self.seen.push(name.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned());
    }

    /// The operation that was just carried out for a member.
    fn operation(&self, who: usize) -> Uuid {
        self.town.last_operation(who)
    }

    fn credit(&mut self, who: usize, points: i64, lot: LotKey, by_doing: bool) {
        let (home, now) = (self.town.home(who), self.now());
        self.model.credit(home, Credit { owner: who, points, lot, by_doing }, now);
    }

    /// One step, in the ledger and on paper. Answers whether both agree that it can be done.
    fn step(&mut self, number: usize, step: &Step) -> Result<(), TestCaseError> {
        let Step { what, who, which, size } = *step;
        let (home, now) = (self.town.home(who), self.now());
        for member in 0..3 {
            self.town.benches[member].settle();
            self.model.settle(member, now);
        }
        let version = self.town.benches[0].versions.at(now).clone();
        let status = self.town.benches[home].facts.status;
        let id = number.to_string();
        let agree = |ledger: bool, paper: bool| {
            if ledger == paper { Ok(()) } else { Err(TestCaseError::fail(format!("{what:?}: ledger {ledger}, model {paper}"))) }
        };
        match what {
            What::Wait => {
                self.town.wait(Duration::from_secs(size.unsigned_abs() * 86_400 / 3 + 1));
                let now = self.now();
                (0..3).for_each(|member| self.model.settle(member, now));
                Ok(())
            }
            What::Award => {
                let done = self.run(who, award(&id, size * 190));
                // A wallet beside the main one hears of what earns something in it.
                if done.is_ok() && (self.wallet == MAIN_WALLET || size > 0) {
                    let lot = version.lot_for(self.wallet, now, now, self.operation(who), &id.as_str().into());
                    self.credit(who, size * 190 / 100, lot, true);
                }
                agree(done.is_ok(), status == MemberStatus::Active)
            }
            What::Activity => {
                let name = if which % 8 == 0 { "unknown" } else { "review" };
                let done = self.run(who, activity(name, &id));
                if done.is_ok() {
                    let lot = version.lot_for(self.wallet, now, now, self.operation(who), &id.as_str().into());
                    self.credit(who, 7, lot, true);
                }
                agree(done.is_ok(), status == MemberStatus::Active && name == "review")
            }
            What::Redeem => {
                let up_to = which % 3 == 0;
                let active = self.model.balances(home).0;
                // Often all that there is, so that returns find nothing left.
                let points = if which % 2 == 0 { active.max(1) } else { size + 1 };
                let command = Redeem { wallet: wallet(), points, up_to, reference: String::new() };
                let actual = if up_to { active.min(points) } else { points };
                let done = self.run(who, Command::Redeem(command));
                let operation = done.is_ok().then(|| self.operation(who));
                self.spends.extend(operation.map(|operation| (who, operation)));
                let can = status == MemberStatus::Active;
                agree(done.is_ok(), can && self.model.redeem(home, who, operation.unwrap_or_default(), actual, now))
            }
            What::Reserve => {
                let command = Reserve { wallet: wallet(), points: size / 2 + 1, ttl: None, reference: "o".into(), several: which % 2 == 0 };
                let done = self.run(who, Command::Reserve(command.clone()));
                let (id, until) = match &done {
                    Ok(Outcome::Reserved { reservation }) => (reservation.id, reservation.expires_at),
                    _ => (Uuid::nil(), now),
                };
                if let Ok(Outcome::Reserved { reservation }) = &done {
                    self.holds.push((who, reservation.clone()));
                }
                let can = status == MemberStatus::Active;
                agree(done.is_ok(), can && self.model.hold(home, id, command.points, until, command.several))
            }
            What::Capture | What::Release if !self.holds.is_empty() => {
                let newest = which % self.holds.len().min(3);
                let (who, hold) = self.holds[self.holds.len() - 1 - newest].clone();
                let home = self.holder(who, hold.id);
                if matches!(what, What::Release) {
                    let done = self.run(home, Command::Release(Release { reservation: hold.id }));
                    return agree(done.is_ok(), self.model.end_hold(home, hold.id, now));
                }
                let (points, last) = (hold.points * size / 80, which % 4 == 0);
                let done = self.run(home, Command::Capture(Capture { reservation: hold.id, points: Some(points), last }));
                let operation = done.is_ok().then(|| self.operation(home));
                self.spends.extend(operation.map(|operation| (home, operation)));
                let can = self.town.benches[home].facts.status != MemberStatus::Closed;
                let operation = operation.unwrap_or_default();
                agree(done.is_ok(), can && self.model.capture(home, home, operation, (hold.id, points, last), now))
            }
            What::Return => self.goods_go_back(which, size),
            What::Refund if !self.spends.is_empty() => {
                let (who, redemption) = self.spends[which % self.spends.len()];
                let points = size / 3 + i64::from(size % 10 > 0);
                let done = self.run(who, refund(redemption, Some(points)));
                let home = self.town.home(who);
                // Where it was spent may have been another's account, that has been let go since.
                if done == Err(Refusal::RedemptionNotFound) {
                    return Ok(());
                }
                agree(done.is_ok(), self.model.refund(home, redemption, points, now))
            }
            What::Resolve => {
                let purchases: Vec<_> = self.town.purchases().map(|purchase| purchase.input.id.0.clone()).collect();
                let reference = (which % 2 == 0 && !purchases.is_empty()).then(|| purchases[which / 2 % purchases.len()].clone());
                let came = size % 3 > 0;
                let command = Resolve { event: "delivered".into(), reference: reference.clone(), came, reason: "lost".to_owned() };
                let beside = self.wallet != MAIN_WALLET && self.waits_in_main(home, reference.as_deref());
                let done = self.run(who, Command::Resolve(command));
                agree(done.is_ok(), self.model.resolve(home, "delivered", reference.as_deref(), came, now) || beside)
            }
            What::SetExpiry => {
                let days = |count: i64| Period { count: i32::try_from(count).unwrap() + 1, unit: CalendarUnit::Day };
                let to = match which % 8 {
                    0 => NewExpiry::At(now),
                    1 => NewExpiry::Never,
                    2..5 => NewExpiry::At(now + Duration::from_secs(86_400 * (size.unsigned_abs() + 1))),
                    _ => NewExpiry::Later(days(size)),
                };
                let done = self.run(who, set_expiry(to));
                agree(done.is_ok(), to != NewExpiry::At(now) && self.model.set_expiry(home, to))
            }
            What::Forgive => {
                let owes = |member: &usize| self.model.balances(*member).3 > 0;
                let who = (0..3).find(owes).unwrap_or(who);
                let home = self.town.home(who);
                let points = size % 8;
                let command = Forgive { wallet: wallet(), points: Some(points), reason: "r".to_owned(), approver: "a".to_owned() };
                let done = self.run(who, Command::Forgive(command));
                agree(done.is_ok(), self.model.forgive(home, points))
            }
            What::Adjust => {
                let points = size - 30;
                let points = if points == 0 { 1 } else { points };
                let done = self.run(who, adjust(points));
                if points > 0 {
                    self.credit(who, points, version.open_lot_for(self.wallet, now), false);
                    return agree(done.is_ok(), true);
                }
                agree(done.is_ok(), self.model.take_away(home, -points))
            }
            What::Ensure => self.reward(which, size, &version),
            What::Status => {
                self.town.benches[home].facts.status = match which % 12 {
                    0 => MemberStatus::Blocked,
                    1 => MemberStatus::Closed,
                    _ => MemberStatus::Active,
                };
                Ok(())
            }
            What::Transfer | What::Merge | What::Unmerge => self.between(number, what, [who, (who + 1 + which % 2) % 3], size),
            What::Capture | What::Release | What::Refund => Ok(()),
        }
    }

    /// Whether something waits for its delivery in the main wallet.
    fn waits_in_main(&self, member: usize, reference: Option<&str>) -> bool {
        let lots = self.town.benches[member].account.wallet(MAIN_WALLET).into_iter().flat_map(|wallet| &wallet.lots);
        let mut gates = lots.filter_map(|lot| lot.key.gate());
        gates.any(|gate| reference.is_none_or(|reference| *gate.reference == *reference))
    }

    /// Who has a hold: it stays with the survivor when an account is let go.
    fn holder(&self, who: usize, hold: Uuid) -> usize {
        let holds = |member: &usize| self.town.benches[*member].account.reservation(hold).is_some();
        (0..3).find(holds).unwrap_or(self.town.home(who))
    }

    fn goods_go_back(&mut self, which: usize, size: i64) -> Result<(), TestCaseError> {
        let now = self.now();
        let purchases: Vec<Purchase> = self.town.purchases().cloned().collect();
        let Some(purchase) = purchases.get(which % (purchases.len() + 1)) else {
            prop_assert_eq!(self.run(0, remaining("unknown", 0)), Err(Refusal::PurchaseNotFound));
            return Ok(());
        };
        let who = self.town.member(purchase.member.unwrap());
        let keep = purchase.remaining_net * size / 90;
        let lot = match self.wallet {
            MAIN_WALLET => purchase.lot.clone(),
            name => purchase.others.iter().find(|earned| *earned.wallet == *name).map(|earned| earned.lot.clone()),
        };
        let lot = lot.map(|lot| match lot.opens_at() {
            Some(at) if at <= now => lot.opened(),
            _ => lot,
        });
        let due = (purchase.input.net.min(purchase.remaining_net) / 100) - keep / 100;
        match self.run(who, remaining(&purchase.input.id.0, keep)) {
            Ok(Outcome::Returned(returned)) => {
                let home = self.town.home(who);
                let earned = purchase.input.id.0.parse().ok();
                prop_assert!(earned.is_some(), "a purchase is named by the step in which it was made");
                let forgiven = self.model.take_back(home, who, lot.as_ref(), due, earned);
                let other = returned.others.first().map_or(0, |taken| taken.forgiven);
                prop_assert_eq!(if self.wallet == MAIN_WALLET { returned.summary.taken.forgiven } else { other }, forgiven);
            }
            _ => prop_assert!(keep >= purchase.remaining_net),
        }
        Ok(())
    }

    /// One reward of the first member, granted and revoked.
    fn reward(&mut self, which: usize, size: i64, version: &Version) -> Result<(), TestCaseError> {
        let (home, now) = (self.town.home(0), self.now());
        let before = self.town.reward();
        let granted = before.as_ref().map_or(0, |state| state.granted);
        let version_of_wish = self.wish + i64::try_from(which % 3).unwrap();
        let wanted = size % 2 == 0;
        let is_new = before.as_ref().is_none_or(|state| version_of_wish > state.version);
        let can = self.town.benches[home].facts.status == MemberStatus::Active;
        let done = self.run(0, ensure(version_of_wish, wanted, size + 1));
        if done.is_ok() {
            self.wish = self.wish.max(version_of_wish);
        }
        match (is_new, wanted, granted > 0) {
            (true, true, false) if can => self.credit(0, size + 1, version.open_lot_for(self.wallet, now), false),
            (true, true, false) => prop_assert!(done.is_err()),
            (true, false, true) => {
                let policy = self.model.terms.return_policy;
                self.model.terms.return_policy = ReturnPolicy::Unlimited;
                let lot = before.and_then(|state| state.lot);
                // When it was granted is not known: it counts as before all that befell the accounts.
                self.model.take_back(home, 0, lot.as_ref(), granted, None);
                self.model.terms.return_policy = policy;
            }
            _ => {}
        }
        Ok(())
    }

    /// In the order of their moments, but for those that points came to after it, or a later one, had been announced.
    fn each_expiry_is_announced_once(&self) -> Result<(), TestCaseError> {
        for bench in &self.town.benches {
            let mut told_to = None;
            let mut moved_to = std::collections::BTreeSet::new();
            let mut slides_to = None;
            for entry in bench.entries.iter().filter(|entry| *entry.wallet == *self.wallet) {
                slides_to = match entry.kind {
                    EntryKind::UnmergeOut | EntryKind::UnmergeIn => entry.sliding_until.or(slides_to),
                    _ => slides_to.max(entry.sliding_until),
                };
                match entry.source {
                    Source::Reminder { expires_at, points } => {
                        let was_moved = moved_to.remove(&expires_at);
                        prop_assert!(points > 0 && (Some(expires_at) > told_to || was_moved), "{:?} after {:?}", expires_at, told_to);
                        told_to = told_to.max(Some(expires_at));
                    }
                    _ => {
                        let joins = matches!(entry.kind, EntryKind::Award | EntryKind::Activity | EntryKind::Activate);
                        let moments = entry.lots.iter().filter(|lot| lot.points > 0).filter_map(|lot| lot.key.lapses_at(slides_to));
                        moved_to.extend(moments.filter(|at| !joins || Some(*at) < told_to));
                    }
                }
            }
        }
        Ok(())
    }

    /// A merge and its end with nothing in between leave both as they were, but for what is held, which stays with the survivor.
    fn there_and_back(&mut self) -> Result<(), TestCaseError> {
        let state = |town: &Town, member: usize| (town.balances(member), town.expiries(member));
        for (one, two) in [(0, 1), (1, 2), (2, 0)] {
            if self.town.home(one) != one || self.town.home(two) != two {
                continue;
            }
            let ((before, expiries), (other, others)) = (state(&self.town, one), state(&self.town, two));
            prop_assert_eq!(self.town.merge(one, two), Ok(Outcome::Merged));
            prop_assert!(self.town.unmerge(one, two).is_ok());
            let held = other.2;
            prop_assert_eq!(state(&self.town, one), ((before.0, before.1, before.2 + held, before.3), expiries));
            prop_assert_eq!(state(&self.town, two), ((other.0, other.1, 0, other.3), others));
        }
        Ok(())
    }

    fn between(&mut self, number: usize, what: What, [one, two]: [usize; 2], size: i64) -> Result<(), TestCaseError> {
        let now = self.now();
        let (home, other) = (self.town.home(one), self.town.home(two));
        let is_active = |town: &Town, member: usize| town.benches[member].facts.status == MemberStatus::Active;
        let (done, paper) = match what {
            What::Transfer if home != other => {
                let can = is_active(&self.town, home) && is_active(&self.town, other);
                let points = size / 2 + 1;
                (self.town.transfer(one, two, points), can && self.model.transfer(home, other, points))
            }
            What::Merge if home == one && one != other => {
                let is_free = other == two;
                let done = self.town.merge(one, two);
                if is_free {
                    self.model.merge(one, two, number, now);
                }
                (done, is_free)
            }
            What::Unmerge if home == one => (self.town.unmerge(one, two), self.model.unmerge(one, two, number, now)),
            _ => return Ok(()),
        };
        self.count(&done);
        prop_assert_eq!(done.is_ok(), paper);
        Ok(())
    }
}

/// Terms under which another wallet earns as the main one would, and lives as long, and the main one does otherwise.
fn beside_main(terms: &Terms) -> Terms {
    let stars = WalletTerms {
        name: STARS.into(),
        title: "Stars".to_owned(),
        points_per_unit: terms.points_per_unit,
        lines: LineFilter::default(),
        life: Some(terms.life.clone()),
    };
    let into_stars = |activity: &ActivityTerms| ActivityTerms { wallet: Some(STARS.into()), ..activity.clone() };
    Terms {
        wallets: vec![stars],
        points_per_unit: Decimal::TWO,
        life: super::terms().life,
        activities: terms.activities.iter().map(into_stars).collect(),
        ..terms.clone()
    }
}

/// Rules 1, 3, 4 and 6 for every command. What a generator never does is not tested, so every outcome and every refusal must have come.
#[test]
fn the_ledger_agrees_with_the_model() {
    let seen = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    let mut runner = TestRunner::new(Config { cases: Config::default().cases.max(400), failure_persistence: None, ..Config::default() });
    let story = |(terms, steps, beside): (Terms, Vec<Step>, bool)| {
        let (wallet, in_ledger) = if beside { (STARS, beside_main(&terms)) } else { (MAIN_WALLET, terms.clone()) };
        let (mut town, model) = (Town::new(3, in_ledger), Model::new(3, terms));
        town.benches.iter_mut().for_each(|bench| bench.wallet = wallet);
        let mut story = Story { wallet, town, model, holds: Vec::new(), spends: Vec::new(), wish: 1, seen: Vec::new() };
        for (number, step) in steps.iter().enumerate() {
            // Each account makes its moments of recording differ by itself: at one moment they do not tell what came first in two.
            story.town.wait(Duration::from_millis(1));
            story.step(number, step)?;
            let now = story.now();
            for member in 0..3 {
                story.town.benches[member].settle();
                story.model.settle(member, now);
                prop_assert_eq!(story.town.balances(member), story.model.balances(member), "member {} after step {}", member, number);
                prop_assert_eq!(story.town.expiries(member), story.model.expiries(member), "member {} after step {}", member, number);
            }
        }
        story.each_expiry_is_announced_once()?;
        story.there_and_back()?;
        let kinds = story.town.benches.iter().flat_map(|bench| &bench.entries).map(|entry| format!("{:?} entry", entry.kind));
        for name in story.seen.iter().cloned().chain(kinds) {
            *seen.borrow_mut().entry(name).or_default() += 1;
        }
        Ok(())
    };
    if let Err(failure) = runner.run(&(any_terms(), steps(), prop::bool::weighted(0.3)), story) {
        panic!("{failure}");
    }
    let answers = "Awarded Redeemed Reserved Captured Released Returned Adjusted Ensured Earned Resolved Refunded ExpirySet Forgiven \
                   Transferred Merged Unmerged InsufficientPoints MemberBlocked MemberClosed ReservationEnded ExceedsReservation \
                   PurchaseNotFound NothingToReturn ExceedsPurchase ActivityNotFound NothingPending ExceedsRedemption NothingToExtend \
                   ExpiryNotAhead ExceedsDeficit AlreadyMerged NotMerged";
    // Pools have stories of their own.
    let kinds = EntryKind::ALL.iter().filter(|kind| **kind != EntryKind::Pool).map(|kind| format!("{kind:?} entry"));
    let missing: Vec<String> =
        answers.split_whitespace().map(str::to_owned).chain(kinds).filter(|name| !seen.borrow().contains_key(name)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}; seen: {:?}", seen.borrow());
}
