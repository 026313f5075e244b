//! Rows with keys of their own, against the entries: they guard against doing something twice, and say what has become of it.
//!
//! What is given back of a redemption, and a reward, may stand in the books of several accounts, as merges go. What the entries of a
//! merged account say is kept until all have been read, and so is what does not come to what the row says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kernel::{ProgramId, Timestamp, Uuid};
use persistence::{Database, Error, Tx};

use super::{ENTRIES_PER_PAGE, readable};
use crate::domain::{AccountId, Entry, EntryKind, GivenUp, MAIN_WALLET, Source};
use crate::executor::Target;
use crate::store::{self, Guard, PurchaseRow};

/// A row that says what entries have come to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Row {
    /// Points that were given back.
    Redemption(Uuid),
    /// Points that are granted.
    Reward(Uuid),
    /// Goods that went back.
    Purchase(Uuid),
    /// The same for a wallet beside the main one.
    Share(Uuid, Arc<str>),
}

/// What entries say of such a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// The accounts that they are in, with one of the entries.
    places: BTreeMap<AccountId, i64>,
    /// Points that were given back.
    given_back: i128,
    /// Points that were spent, where the entry that did it is one of these.
    spent: Option<i128>,
    /// Goods went back so often.
    returns: i64,
    /// Points that they should have taken, those given up included where that is kept.
    taken: i128,
    /// How often the reward was granted, less how often it was taken back.
    grants: i64,
    /// The points of the last grant.
    last_grant: Option<(Timestamp, i64)>,
}

impl Said {
    fn take(&mut self, account: AccountId, entry: &Entry) {
        self.places.insert(account, entry.version);
        match entry.kind {
            EntryKind::Redeem | EntryKind::Capture => self.spent = Some(-i128::from(entry.points)),
            EntryKind::Refund => {
                let lots: i128 = entry.lots.iter().map(|change| i128::from(change.points)).sum();
                self.given_back += lots - i128::from(entry.deficit_delta) - i128::from(GivenUp::sum(entry.given_up.iter()));
            }
            EntryKind::Reward => {
                self.grants += 1;
                self.last_grant = self.last_grant.max(Some((entry.recorded_at, entry.points)));
            }
            EntryKind::RewardRevoked => self.grants -= 1,
            EntryKind::Clawback => {
                self.returns += 1;
                self.taken += i128::from(GivenUp::sum(entry.given_up.iter())) - i128::from(entry.points);
            }
            _ => {}
        }
    }

    fn add(&mut self, other: Said) {
        self.places.extend(other.places);
        self.given_back += other.given_back;
        self.spent = self.spent.or(other.spent);
        self.returns += other.returns;
        self.taken += other.taken;
        self.grants += other.grants;
        self.last_grant = self.last_grant.max(other.last_grant);
    }

    /// What is wrong with a row that says this many points, and how many changes have come to them.
    fn fault(&self, row: &Row, (changes, points): (i64, i64)) -> Option<String> {
        match row {
            Row::Purchase(_) if self.returns != changes => {
                Some(format!("{} returns of its purchase took points back, the purchase counts {changes}", self.returns))
            }
            // What the terms leave with the member stands in no entry: it may be less.
            Row::Purchase(_) | Row::Share(..) if self.taken > i128::from(points) => {
                Some(format!("{} points of its purchase were taken back, its returns say {points}", self.taken))
            }
            Row::Redemption(_) if self.spent.is_some_and(|spent| spent < self.given_back) => {
                Some(format!("{} points of its redemption were given back, and {} were spent", self.given_back, self.spent?))
            }
            Row::Redemption(_) if self.given_back != i128::from(points) => {
                Some(format!("{} points of its redemption were given back, the redemption says {points}", self.given_back))
            }
            Row::Reward(_) if !(0..=1).contains(&self.grants) => Some(format!("its reward was granted {} times", self.grants)),
            Row::Reward(_) => {
                let granted = self.last_grant.filter(|_| self.grants > 0).map_or(0, |(_, points)| points);
                (granted != points).then(|| format!("{granted} points of its reward are granted, the reward says {points}"))
            }
            Row::Redemption(_) | Row::Purchase(_) | Row::Share(..) => None,
        }
    }
}

/// What the entries of an account say.
#[derive(Default)]
pub(super) struct Sayings {
    by_row: BTreeMap<Row, Said>,
    /// It has taken another in, or was taken in: others may say something of the same rows.
    has_merged: bool,
}

impl Row {
    /// The row that an entry about something says something of.
    fn of(target: Target, entry: &Entry) -> Option<Row> {
        match target {
            Target::Redemption(key) => Some(Row::Redemption(key)),
            Target::Reward(key) => Some(Row::Reward(key)),
            Target::Purchase(key) if entry.kind == EntryKind::Clawback => Some(match &*entry.wallet {
                MAIN_WALLET => Row::Purchase(key),
                _ => Row::Share(key, entry.wallet.clone()),
            }),
            _ => None,
        }
    }
}

/// What an entry made that can be made once, or changed.
fn natural_key(program: &ProgramId, entry: &Entry) -> Option<Target> {
    match (&entry.source, entry.kind) {
        (_, EntryKind::Redeem | EntryKind::Capture) if entry.points < 0 => Some(Target::Redemption(entry.stamp.operation)),
        (Source::Purchase(id), _) => Some(Target::purchase(program, &id.0)),
        (Source::Reward { key, .. }, _) => Some(Target::reward(program, key)),
        (Source::Activity { activity, id }, _) => Some(Target::activity(program, activity, id, None)),
        (Source::Reservation { id, .. }, EntryKind::Reserve) => Some(Target::Reservation(*id)),
        (Source::Redemption { operation, .. }, _) => Some(Target::Redemption(*operation)),
        _ => None,
    }
}

/// Checks the rows that a page of entries names, and takes in what it says of those that other entries say something of too. What is
/// wrong, by the versions of the entries.
pub(super) async fn check_page(
    tx: &mut Tx,
    program: &ProgramId,
    account: AccountId,
    page: &[Entry],
    sayings: &mut Sayings,
) -> Result<Vec<(i64, String)>, Error> {
    let mut guards: BTreeMap<Guard, Vec<(i64, Uuid)>> = BTreeMap::new();
    let (mut purchases, mut redemptions, mut rewards) = (Vec::new(), Vec::new(), Vec::new());
    for entry in page.iter().filter(|entry| !entry.stamp.operation.is_nil()) {
        guards.entry(Guard::Operation).or_default().push((entry.version, entry.stamp.operation));
        let target = natural_key(program, entry);
        match target {
            Some(Target::Purchase(key)) => purchases.push((entry, key)),
            Some(Target::Redemption(key)) => redemptions.push((entry, key)),
            Some(Target::Reward(key)) => rewards.push((entry, key)),
            Some(Target::Reservation(key)) => guards.entry(Guard::Reservation).or_default().push((entry.version, key)),
            Some(Target::Activity(key, _)) => guards.entry(Guard::Activity).or_default().push((entry.version, key)),
            // What these have rows for is checked by their redemptions, and all at once at the end.
            Some(Target::Account | Target::Catalogue(_) | Target::Voucher(_)) | None => {}
        }
        if let Some(row) = target.and_then(|target| Row::of(target, entry)) {
            sayings.by_row.entry(row).or_default().take(account, entry);
        }
        sayings.has_merged |= matches!(entry.source, Source::Merge { .. } | Source::Unmerge { .. });
    }
    let mut wrong = Vec::new();
    for (guard, wanted) in guards {
        let keys: Vec<Uuid> = wanted.iter().map(|(_, key)| *key).collect();
        let there = store::existing_keys(tx, guard, &keys).await?;
        let what = match guard {
            Guard::Account => "its account is not there",
            Guard::Operation => "the answer to its request is not there",
            Guard::Reservation => "its reservation is not there",
            Guard::Activity => "its activity is not there",
        };
        wrong.extend(wanted.into_iter().filter(|(_, key)| !there.contains(key)).map(|(version, _)| (version, what.to_owned())));
    }
    check_purchases(tx, &purchases, &mut wrong).await?;
    let rows = if redemptions.is_empty() { Default::default() } else { store::redemption_rows(tx, &keys_of(&redemptions)).await? };
    for (entry, key) in redemptions {
        match rows.get(&key) {
            None => wrong.push((entry.version, "its redemption is not there".to_owned())),
            Some(row) if entry.points < 0 && (row.account, row.version) != (account, entry.version) => {
                wrong.push((entry.version, format!("its redemption names entry {} of {}", row.version, row.account.0)));
            }
            Some(_) => {}
        }
    }
    let rows = if rewards.is_empty() { Default::default() } else { store::reward_rows(tx, &keys_of(&rewards)).await? };
    wrong.extend(
        rewards.iter().filter(|(_, key)| !rows.contains_key(key)).map(|(entry, _)| (entry.version, "its reward is not there".to_owned())),
    );
    wrong.sort_unstable();
    Ok(wrong)
}

fn keys_of(wanted: &[(&Entry, Uuid)]) -> Vec<Uuid> {
    wanted.iter().map(|(_, key)| *key).collect()
}

/// What a purchase earned is what it deserves now, and what its returns have taken; so is its net.
async fn check_purchases(tx: &mut Tx, wanted: &[(&Entry, Uuid)], wrong: &mut Vec<(i64, String)>) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    let keys = keys_of(wanted);
    let rows = store::purchase_rows(tx, &keys).await?;
    // Returns are read afterwards: those that have come since have numbers beyond what the purchase counts.
    let returned: Vec<Uuid> = rows.iter().filter(|(_, row)| row.returns > 0).map(|(key, _)| *key).collect();
    let returns = if returned.is_empty() { BTreeMap::new() } else { store::returns(tx, &returned).await? };
    for (entry, key) in wanted {
        let mut tell = |what: String| wrong.push((entry.version, what));
        let Some(row) = rows.get(key) else {
            tell("its purchase is not there".to_owned());
            continue;
        };
        if entry.kind != EntryKind::Award {
            continue;
        }
        let Some(purchase) = readable(row.purchase(), |what| tell(format!("its purchase cannot be read: {what}")))? else { continue };
        let told = (purchase.operation, purchase.input.net, purchase.remaining_net, purchase.due, purchase.returns);
        if told != (row.operation, row.net, row.remaining_net, row.due_points, row.returns) {
            tell("the details of its purchase do not say what its columns say".to_owned());
        }
        if row.operation != entry.stamp.operation {
            tell("its purchase was recorded by another operation".to_owned());
        }
        if *entry.wallet != *MAIN_WALLET {
            let earned = purchase.others.iter().find(|earned| earned.wallet == entry.wallet).map_or(0, |earned| earned.earned);
            if earned != entry.points {
                tell(format!("its purchase says that it earned {earned} points in the wallet {}", entry.wallet));
            }
            continue;
        }
        let returns = returns.get(key).map_or(&[][..], |returns| returns);
        let returns: Vec<_> = returns.iter().filter(|back| back.number <= row.returns).collect();
        if i64::try_from(returns.len()) != Ok(row.returns) {
            tell(format!("its purchase counts {} returns, and {} are there", row.returns, returns.len()));
        }
        let taken: i128 = returns.iter().map(|back| i128::from(back.due_points_delta)).sum();
        let earned = i128::from(row.due_points) - taken;
        if earned != i128::from(entry.points) {
            tell(format!("its purchase and the returns of it say that it earned {earned} points"));
        }
        let net = i128::from(row.remaining_net) + returns.iter().map(|back| i128::from(back.returned_net)).sum::<i128>();
        if net != i128::from(row.net) {
            tell(format!("its purchase has a net of {}, what is left and its returns come to {net}", row.net));
        }
    }
    Ok(())
}

/// What the rows say now: how many changes where that is counted, and the points.
async fn rows_now(tx: &mut Tx, rows: impl Iterator<Item = &Row>) -> Result<BTreeMap<Row, (i64, i64)>, Error> {
    let (mut redemptions, mut rewards, mut purchases, mut shares) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row {
            Row::Redemption(key) => redemptions.push(*key),
            Row::Reward(key) => rewards.push(*key),
            Row::Purchase(key) => purchases.push(*key),
            Row::Share(key, _) => shares.push(*key),
        }
    }
    let redemptions = if redemptions.is_empty() { Default::default() } else { store::redemption_rows(tx, &redemptions).await? };
    let rewards = if rewards.is_empty() { Default::default() } else { store::reward_rows(tx, &rewards).await? };
    let purchases = if purchases.is_empty() { Default::default() } else { returns_now(tx, &purchases).await? };
    let shares = if shares.is_empty() { Default::default() } else { shares_now(tx, &shares).await? };
    let redemptions = redemptions.into_iter().map(|(key, row)| (Row::Redemption(key), (0, row.refunded)));
    Ok(redemptions.chain(rewards.into_iter().map(|(key, row)| (Row::Reward(key), row))).chain(purchases).chain(shares).collect())
}

/// What returns should have taken of what purchases had earned in wallets beside the main one.
async fn shares_now(tx: &mut Tx, keys: &[Uuid]) -> Result<Vec<(Row, (i64, i64))>, Error> {
    let mut shares = Vec::new();
    for (key, row) in store::purchase_rows(tx, keys).await? {
        // One that cannot be read has been told of.
        let Some(purchase) = readable(row.purchase(), |_| {})? else { continue };
        shares.extend(purchase.others.into_iter().map(|earned| (Row::Share(key, earned.wallet), (0, earned.earned - earned.due))));
    }
    Ok(shares)
}

/// How many returns purchases count, and the points that these say they should have taken.
async fn returns_now(tx: &mut Tx, keys: &[Uuid]) -> Result<Vec<(Row, (i64, i64))>, Error> {
    let purchases = store::purchase_rows(tx, keys).await?;
    // They are read afterwards, as above.
    let returns = store::returns(tx, keys).await?;
    let now = |(key, purchase): (Uuid, PurchaseRow)| {
        let counted = returns.get(&key).into_iter().flatten().filter(|back| back.number <= purchase.returns);
        let taken = counted.fold(0_i64, |taken, back| taken.saturating_sub(back.due_points_delta));
        (Row::Purchase(key), (purchase.returns, taken))
    };
    Ok(purchases.into_iter().map(now).collect())
}

/// Keeps of what an account says what others may add to, and what its rows do not say alike.
pub(super) async fn keep_suspects(
    database: &Database,
    sayings: Sayings,
    suspects: &mut Suspects,
    member: &str,
    program: &str,
) -> Result<(), Error> {
    let Sayings { by_row, has_merged } = sayings;
    if by_row.is_empty() {
        return Ok(());
    }
    let rows = rows_now(&mut database.read().await?, by_row.keys()).await?;
    for (row, said) in by_row {
        // One that is not there has been told of.
        let Some(now) = rows.get(&row) else { continue };
        if has_merged || said.fault(&row, *now).is_some() {
            let first = || Suspect { member: member.to_owned(), program: program.to_owned(), said: Said::default() };
            suspects.entry(row).or_insert_with(first).said.add(said);
        }
    }
    Ok(())
}

/// Rows that say something else than the entries of one account, or that entries of several may be about.
pub(super) type Suspects = BTreeMap<Row, Suspect>;

/// What has been read of such a row.
pub(super) struct Suspect {
    /// Whose entries they were first.
    pub(super) member: String,
    program: String,
    said: Said,
}

impl Suspect {
    /// What is wrong with the row once all accounts have been read.
    pub(super) async fn fault(mut self, database: &Database, row: Row) -> Result<Option<String>, Error> {
        let program = ProgramId::parse(&self.program).map_err(|_| Error::Corrupt("program of an account".to_owned()))?;
        loop {
            let mut tx = database.read().await?;
            let Some(now) = rows_now(&mut tx, std::iter::once(&row)).await?.remove(&row) else { return Ok(None) };
            if self.said.fault(&row, now).is_none() {
                return Ok(None);
            }
            // A working server may have changed the row since its entries were read: unless it does so while they are read again, they
            // belong together.
            self.said = self.read_again(&mut tx, &row, &program).await?;
            if rows_now(&mut tx, std::iter::once(&row)).await?.remove(&row) == Some(now) {
                let entry = self.said.places.values().next().copied().unwrap_or_default();
                return Ok(self.said.fault(&row, now).map(|what| format!("entry {entry}: {what}")));
            }
        }
    }

    /// What the entries say in the accounts that had some, and in all that have ever been one with these.
    async fn read_again(&self, tx: &mut Tx, row: &Row, program: &ProgramId) -> Result<Said, Error> {
        let mut said = Said::default();
        let mut open: Vec<AccountId> = self.said.places.keys().copied().collect();
        let mut seen = BTreeSet::new();
        while let Some(account) = open.pop() {
            if !seen.insert(account) {
                continue;
            }
            let mut from = 1;
            loop {
                let rows = store::entries_from(tx, account, from, ENTRIES_PER_PAGE).await?;
                let Some(last) = rows.last() else { break };
                from = last.version + 1;
                for entry in rows {
                    // One that cannot be read has been told of.
                    let Some(entry) = readable(store::entry_from_row(entry), |_| {})? else { continue };
                    if let Source::Merge { member, .. } | Source::Unmerge { member, .. } = entry.source {
                        open.push(AccountId::of(program, member));
                    }
                    if natural_key(program, &entry).and_then(|target| Row::of(target, &entry)).as_ref() == Some(row) {
                        said.take(account, &entry);
                    }
                }
            }
        }
        Ok(said)
    }
}
