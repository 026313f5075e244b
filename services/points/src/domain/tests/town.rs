//! Several members, and what passes between their accounts.

use super::*;

/// Members with their benches; who was merged is served where he is now, under his own name.
pub(super) struct Town {
    pub(super) benches: Vec<Bench>,
}

impl Town {
    pub(super) fn new(members: usize, terms: Terms) -> Town {
        let bench = |number: usize| {
            let member = MemberId(Uuid::from_u128(7 + number as u128));
            Bench { member, ..Bench::new(terms.clone()) }
        };
        Town { benches: (0..members).map(bench).collect() }
    }

    /// Where a member's account is now.
    pub(super) fn home(&self, member: usize) -> usize {
        match self.benches[member].account.merged_into {
            Some(survivor) => self.home(self.benches.iter().position(|bench| bench.member == survivor).unwrap()),
            None => member,
        }
    }

    /// Carries out a command of a member.
    pub(super) fn run(&mut self, member: usize, command: Command) -> Result<Outcome, Refusal> {
        let (home, named) = (self.home(member), self.benches[member].member);
        let presented = (home != member).then_some(named);
        self.at(home, |bench| {
            bench.presented = presented;
            let done = bench.run(by(named, command));
            bench.presented = None;
            done
        })
    }

    pub(super) fn transfer(&mut self, from: usize, to: usize, points: i64) -> Result<Outcome, Refusal> {
        let (from, to) = (self.home(from), self.home(to));
        let wallet = self.benches[from].wallet.into();
        self.between(from, to, &Command::Transfer(Transfer { wallet, points, reason: "gift".to_owned(), into_pool: false }))
    }

    pub(super) fn merge(&mut self, survivor: usize, other: usize) -> Result<Outcome, Refusal> {
        self.between(survivor, other, &Command::Merge(Merge { reason: "same person".to_owned() }))
    }

    pub(super) fn unmerge(&mut self, survivor: usize, other: usize) -> Result<Outcome, Refusal> {
        self.between(survivor, other, &Command::Unmerge(Merge { reason: "two persons".to_owned() }))
    }

    /// A command between two accounts leaves their sum as it is, but for what lapses, is spent or is taken after all, and a refused one leaves no trace.
    pub(super) fn between(&mut self, one: usize, two: usize, command: &Command) -> Result<Outcome, Refusal> {
        let [first, second] = self.benches.get_disjoint_mut([one, two]).unwrap();
        first.settle();
        second.settle();
        let stamp = first.stamp();
        let before = (first.account.clone(), second.account.clone());
        let open = |bench: &mut Bench| -> (AccountId, MemberId) { (bench.id(), bench.member) };
        let (one, two) = (open(first), open(second));
        let sides = (
            Side { books: Ledger::open(one.0, &mut first.account, &first.versions, &first.facts, &stamp), member: one.1 },
            Side { books: Ledger::open(two.0, &mut second.account, &second.versions, &second.facts, &stamp), member: two.1 },
        );
        let done = apply_between(command, &Known::default(), sides.0, sides.1);
        match done {
            Err(refusal) => {
                assert_eq!((&first.account, &second.account), (&before.0, &before.1), "a refusal changes nothing");
                Err(refusal)
            }
            Ok((outcome, [posted, others])) => {
                let moved = posted
                    .iter()
                    .chain(&others)
                    .filter(|entry| !matches!(entry.kind, EntryKind::Expire | EntryKind::Redeem | EntryKind::Clawback));
                assert_eq!(moved.map(|entry| entry.points).sum::<i64>(), 0, "nothing arises or is lost between two accounts");
                first.entries.extend(posted);
                second.entries.extend(others);
                first.check();
                second.check();
                Ok(outcome)
            }
        }
    }

    /// Goods of a member go back that points of another account have paid for; what both accounts have changes by, in their order.
    pub(super) fn goods_go_back(&mut self, member: usize, other: usize, id: &str, net: i64) -> Result<Box<Returned>, Refusal> {
        let named = self.benches[member].member;
        let mut redemptions = HashMap::new();
        self.benches.iter().for_each(|bench| redemptions.extend(bench.redemptions.clone()));
        let bought = self.purchases().find(|purchase| *purchase.input.id.0 == *id && purchase.member == Some(named)).cloned();
        let spent = bought.iter().flat_map(|purchase| &purchase.input.redemptions).filter_map(|id| redemptions.get(id));
        let known = Known { redemptions: spent.cloned().collect(), purchase: bought, ..Known::default() };
        let (member, other) = (self.home(member), self.home(other));
        let before = (self.benches[member].account.clone(), self.benches[other].account.clone());
        let [first, second] = self.benches.get_disjoint_mut([member, other]).unwrap();
        let stamp = first.stamp();
        let (one, two) = ((first.id(), first.member), (second.id(), second.member));
        let sides = (
            Side { books: Ledger::open(one.0, &mut first.account, &first.versions, &first.facts, &stamp), member: one.1 },
            Side { books: Ledger::open(two.0, &mut second.account, &second.versions, &second.facts, &stamp), member: two.1 },
        );
        let done = apply_between(&remaining(id, net), &known, sides.0, sides.1);
        if done.is_err() {
            assert_eq!((&first.account, &second.account), (&before.0, &before.1), "a refusal changes nothing");
        }
        let (Outcome::Returned(returned), [posted, others]) = done? else { panic!("a return") };
        first.entries.extend(posted);
        second.entries.extend(others);
        first.check();
        second.check();
        for redemption in &returned.restored.redemptions {
            let bench = self.benches.iter_mut().find(|bench| bench.redemptions.contains_key(&redemption.operation)).unwrap();
            bench.redemptions.insert(redemption.operation, redemption.clone());
        }
        let kept =
            self.benches.iter_mut().flat_map(|bench| &mut bench.purchases).find(|purchase| purchase.input.id == returned.purchase.input.id);
        *kept.unwrap() = returned.purchase.clone();
        Ok(returned)
    }

    /// Lets a member's bench work with what is recorded of all.
    fn at<T>(&mut self, home: usize, work: impl FnOnce(&mut Bench) -> T) -> T {
        let mut redemptions = HashMap::new();
        let mut purchases = Vec::new();
        let reward = self.benches.iter_mut().find_map(|bench| bench.reward.take());
        let mut shared = Vec::new();
        for bench in &mut self.benches {
            redemptions.extend(bench.redemptions.drain());
            purchases.append(&mut bench.purchases);
            shared.append(&mut bench.shared);
        }
        let bench = &mut self.benches[home];
        (bench.redemptions, bench.purchases, bench.reward, bench.shared) = (redemptions, purchases, reward, shared);
        work(bench)
    }

    /// All purchases.
    pub(super) fn purchases(&self) -> impl Iterator<Item = &Purchase> {
        self.benches.iter().flat_map(|bench| &bench.purchases)
    }

    /// What members share of what is limited.
    pub(super) fn shared(&self) -> Vec<Count> {
        self.benches.iter().flat_map(|bench| bench.shared.clone()).collect()
    }

    /// The reward that was ensured, as it stands.
    pub(super) fn reward(&self) -> Option<RewardState> {
        self.benches.iter().find_map(|bench| bench.reward.clone())
    }

    /// The number of a member.
    pub(super) fn member(&self, member: MemberId) -> usize {
        self.benches.iter().position(|bench| bench.member == member).unwrap()
    }

    /// How many spendable points of a member lapse when.
    pub(super) fn expiries(&self, member: usize) -> Vec<(Option<Timestamp>, i64)> {
        let mut all = std::collections::BTreeMap::new();
        let bench = &self.benches[member];
        if let Some(wallet) = bench.account.wallet(bench.wallet) {
            for (key, points) in wallet.spendable() {
                *all.entry(key.lapses_at(wallet.sliding_until)).or_insert(0) += points;
            }
        }
        all.into_iter().collect()
    }

    pub(super) fn wait(&mut self, time: Duration) {
        for bench in &mut self.benches {
            bench.now = bench.now + time;
            bench.settle();
        }
    }

    pub(super) fn balances(&self, member: usize) -> (i64, i64, i64, i64) {
        self.benches[member].balances()
    }

    /// The last operation of the account in which a member is served.
    pub(super) fn last_operation(&self, member: usize) -> Uuid {
        self.benches[self.home(member)].entries.iter().rev().find(|entry| !entry.stamp.operation.is_nil()).unwrap().stamp.operation
    }
}
