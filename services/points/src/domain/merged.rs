use std::sync::Arc;

use kernel::{MemberId, Timestamp, Uuid};

use super::{Account, AccountId, Count, Entry, EntryKind, Expiry, Given, LotChange, LotKey, MAIN_WALLET, Source, Tally, TallyChange};

/// An account that was taken in, with what it takes to let it go again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merged {
    /// The account with its member, and before it those that it had taken in itself.
    pub identities: Vec<Identity>,
    /// When, as it was recorded.
    pub at: Timestamp,
    /// Its purchases, with those made in its name since.
    pub purchases: i64,
    /// When the last of them was made.
    pub last_purchase_at: Option<Timestamp>,
    /// What its member had got of what is limited, with what he has got since.
    pub counts: Vec<Count>,
    /// What counted for its member's challenges, with what has counted in his name since.
    pub tallies: Vec<Tally>,
    /// What it owed, per wallet.
    pub deficits: Vec<(Arc<str>, i64)>,
    /// Lots of one side, as they were then, that repaid what the other owed when the two came together.
    pub repaid: Vec<(Arc<str>, LotKey, i64)>,
    /// Until when sliding lots would live if the two had stayed apart, per wallet.
    pub apart: Vec<Apart>,
}

/// One of the accounts that came with a merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// Its member.
    pub member: MemberId,
    /// The account that had taken it in before, and when, as it was recorded; `None` where this merge did.
    pub came: Option<(AccountId, Timestamp)>,
}

/// Until when sliding lots of one wallet live by what was done in the name of each of two accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Apart {
    /// The wallet.
    pub wallet: Arc<str>,
    /// Those of the account that took the other in.
    pub survivor: Option<Timestamp>,
    /// Those of the other.
    pub other: Option<Timestamp>,
}

impl Account {
    /// Whether it took another account in.
    pub fn has_merged(&self, account: AccountId) -> bool {
        self.merged.iter().any(|merged| merged.has(account))
    }

    /// This account, whose id is `own`, and all that it took in.
    pub fn accounts(&self, own: AccountId) -> Vec<AccountId> {
        let merged = self.merged.iter().flat_map(|merged| &merged.identities).map(|identity| identity.account);
        std::iter::once(own).chain(merged).collect()
    }

    /// When the last purchase was made, its own or of those it took in.
    pub fn last_purchase(&self) -> Option<Timestamp> {
        self.merged.iter().map(|merged| merged.last_purchase_at).fold(self.last_purchase_at, Ord::max)
    }

    /// The account of a member that this one took in.
    pub fn merged_account(&self, member: MemberId) -> Option<AccountId> {
        let mut identities = self.merged.iter().flat_map(|merged| &merged.identities);
        identities.find(|known| known.member == member).map(|known| known.account)
    }

    /// The account in whose books a member earned something then, where this one has taken that in since.
    pub(super) fn merged_since(&self, member: MemberId, earned_at: Timestamp) -> Option<AccountId> {
        let merged = self.merged.iter().find(|merged| merged.names(Some(member)))?;
        let mut known = merged.identities.iter().find(|known| known.member == member)?;
        while let Some((into, _)) = known.came.filter(|(_, at)| *at < earned_at) {
            known = merged.identities.iter().find(|outer| outer.account == into)?;
        }
        (known.came.is_some() || earned_at <= merged.at).then_some(known.account)
    }

    /// `slid_until` is what the wallet's `sliding_until` was before.
    pub(super) fn evolve_identity(&mut self, entry: &Entry, slid_until: Option<Timestamp>) {
        let is_main = &*entry.wallet == MAIN_WALLET;
        if !matches!(entry.source, Source::Merge { .. } | Source::Unmerge { .. }) {
            self.fold_merged(&entry.tallied);
            // What an activity took is given back where it took it, whoever is named with the decision.
            let decided = self.unapproved.iter().find(|known| entry.decided.contains(&known.gate.operation)).map(|known| known.origin);
            let took = |merged: &Merged| match decided {
                Some(origin) => origin.is_some_and(|origin| merged.has(origin)),
                None => merged.names(entry.stamp.presented),
            };
            if let Some(merged) = self.merged.iter_mut().find(|merged| took(merged)) {
                entry.counted_of_member().for_each(|count| count.add_to(&mut merged.counts));
            }
            let named = self.merged.iter_mut().find(|merged| merged.names(entry.stamp.presented));
            if let Some(merged) = named {
                for change in &entry.tallied {
                    // What was given before, and how often it was that is folded away, is known where it was; so is what became of it.
                    let (again, given): (Vec<Given>, Vec<Given>) =
                        change.given.iter().cloned().partition(|given| change.dropped.contains(&given.id));
                    let is_gone = |id: &&Uuid| again.iter().all(|known| known.id != **id);
                    let dropped = change.dropped.iter().filter(is_gone).copied().collect();
                    TallyChange { kept: 0, given, dropped, ..change.clone() }.add_to(&mut merged.tallies);
                }
            }
        }
        if !matches!(entry.source, Source::Unmerge { .. }) {
            self.evolve_apart(entry, slid_until);
        }
        match (&entry.source, entry.kind) {
            (Source::Merge { member, .. }, EntryKind::MergeOut) => self.merged_into = Some(*member),
            (Source::Merge { identities, purchases, last_purchase_at, let_go_at, .. }, EntryKind::MergeIn) => {
                self.let_go_at = self.let_go_at.max(*let_go_at);
                let deficit = (entry.deficit_delta > 0).then(|| (entry.wallet.clone(), entry.deficit_delta));
                let apart = Apart { wallet: entry.wallet.clone(), survivor: slid_until, other: entry.sliding_until };
                match self.merged.iter_mut().find(|merged| merged.identities == *identities) {
                    Some(merged) => {
                        merged.deficits.extend(deficit);
                        merged.apart.push(apart);
                    }
                    None => {
                        self.purchases += purchases;
                        self.merged.push(Merged {
                            identities: identities.clone(),
                            at: entry.recorded_at,
                            purchases: *purchases,
                            last_purchase_at: *last_purchase_at,
                            counts: entry.counted.clone(),
                            tallies: tallies_of(&entry.tallied),
                            deficits: deficit.into_iter().collect(),
                            repaid: Vec::new(),
                            apart: vec![apart],
                        });
                    }
                }
            }
            (Source::Merge { identities, .. }, EntryKind::Repay) => {
                if let Some(merged) = self.merged.iter_mut().find(|merged| merged.identities == *identities) {
                    merged.repaid.extend(entry.lots.iter().map(|lot| (entry.wallet.clone(), lot.key.clone(), -lot.points)));
                }
            }
            (Source::Unmerge { purchases, account, .. }, EntryKind::UnmergeOut) if is_main => {
                self.purchases -= purchases;
                self.merged.retain(|merged| merged.identities.last().is_none_or(|known| known.account != *account));
            }
            (Source::Unmerge { purchases, last_purchase_at, .. }, EntryKind::UnmergeIn) if is_main => {
                self.merged_into = None;
                self.let_go_at = Some(entry.recorded_at);
                self.purchases = *purchases;
                // What those whom it had taken in itself had bought before is told with them.
                if *last_purchase_at > self.last_purchase() {
                    self.last_purchase_at = *last_purchase_at;
                }
            }
            (_, EntryKind::Award) if is_main => {
                self.purchases += 1;
                let last = match self.merged.iter_mut().find(|merged| merged.names(entry.stamp.presented)) {
                    Some(merged) => {
                        merged.purchases += 1;
                        &mut merged.last_purchase_at
                    }
                    None => &mut self.last_purchase_at,
                };
                *last = (*last).max(Some(entry.stamp.occurred_at));
            }
            _ => {}
        }
    }

    /// Keeps apart what was done in the name of each account that has come together here.
    fn evolve_apart(&mut self, entry: &Entry, slid_until: Option<Timestamp>) {
        if entry.sliding_until.is_none() {
            return;
        }
        if entry.kind.begins_sliding() {
            let is_first = |lot: &&LotChange| self.starts_sliding(&entry.wallet, slid_until, lot, entry.effective_at);
            for origin in entry.lots.iter().filter(is_first).map(|lot| lot.key.origin).collect::<Vec<_>>() {
                self.slide_apart(entry, slid_until, |merged| origin.is_some_and(|origin| merged.has(origin)));
            }
        } else {
            self.slide_apart(entry, slid_until, |merged| merged.names(entry.stamp.presented));
        }
    }

    fn slide_apart(&mut self, entry: &Entry, slid_until: Option<Timestamp>, is_other: impl Fn(&Merged) -> bool) {
        // Each wallet of a merge tells by itself what it was before.
        let comes_with = |merged: &Merged| matches!(&entry.source, Source::Merge { identities, .. } if *identities == merged.identities);
        for merged in self.merged.iter_mut().filter(|merged| !comes_with(merged)) {
            let is_other = is_other(merged);
            let index = merged.apart.iter().position(|apart| apart.wallet == entry.wallet).unwrap_or_else(|| {
                merged.apart.push(merged.apart_in(&entry.wallet, slid_until));
                merged.apart.len() - 1
            });
            let until = merged.apart[index].side(is_other);
            *until = (*until).max(entry.sliding_until);
        }
    }

    /// Whether a sliding lot that arrives finds nothing that keeps it alive: in its wallet, or in what that would be if those who have come
    /// together had stayed apart.
    pub(super) fn starts_sliding(&self, wallet: &str, slid_until: Option<Timestamp>, lot: &LotChange, moment: Timestamp) -> bool {
        let lives = |until: Option<Timestamp>| until.is_some_and(|until| until > moment);
        let sides = self.merged.iter().map(|merged| {
            let is_other = lot.key.origin.is_some_and(|origin| merged.has(origin));
            let apart = merged.apart_in(wallet, slid_until);
            if is_other { apart.other } else { apart.survivor }
        });
        let arrives = lot.points > 0 && lot.key.expiry == Expiry::Sliding;
        arrives && !std::iter::once(slid_until).chain(sides).all(lives)
    }
}

fn tallies_of(changes: &[TallyChange]) -> Vec<Tally> {
    let mut tallies = Vec::new();
    changes.iter().for_each(|change| change.add_to(&mut tallies));
    tallies
}

impl Apart {
    fn side(&mut self, is_other: bool) -> &mut Option<Timestamp> {
        if is_other { &mut self.other } else { &mut self.survivor }
    }
}

impl Merged {
    /// Whether an account is one of those that were taken in.
    fn has(&self, account: AccountId) -> bool {
        self.identities.iter().any(|known| known.account == account)
    }

    /// What it keeps apart of a wallet. One that the account taken in had not, and in which nothing has slid since, is the survivor's alone.
    fn apart_in(&self, wallet: &str, slid_until: Option<Timestamp>) -> Apart {
        let known = self.apart.iter().find(|apart| *apart.wallet == *wallet);
        known.cloned().unwrap_or_else(|| Apart { wallet: wallet.into(), survivor: slid_until, other: None })
    }

    /// Whether a member is one of those that were taken in.
    fn names(&self, presented: Option<MemberId>) -> bool {
        self.identities.iter().any(|known| Some(known.member) == presented)
    }
}
