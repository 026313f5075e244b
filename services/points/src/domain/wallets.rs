//! Wallets beside the main one: what is earned in them by what rate, and how long it lives.

use std::sync::Arc;

use kernel::Timestamp;
use rust_decimal::Decimal;

use super::terms::{Component, sum};
use super::{Command, Ensure, Explanation, Ledger, Life, LineFilter, LotKey, MAIN_WALLET, RedeemFromPool, Refusal, Version, Versions};

/// A wallet beside the main one.
#[derive(Clone, PartialEq, Debug)]
pub struct WalletTerms {
    /// Its name.
    pub name: Arc<str>,
    /// What a receipt calls it.
    pub title: String,
    /// Points per major unit of money; none where purchases by themselves earn nothing in it.
    pub points_per_unit: Decimal,
    /// Which lines earn by that rate.
    pub lines: LineFilter,
    /// How long its points live; `None` for as long as others.
    pub life: Option<Life>,
}

/// Points of a wallet beside the main one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// The wallet.
    pub wallet: Arc<str>,
    /// How many.
    pub points: i64,
}

/// What a purchase has earned in a wallet beside the main one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Earned {
    /// The wallet.
    pub wallet: Arc<str>,
    /// Points when it was awarded.
    pub earned: i64,
    /// Points that it deserves now.
    pub due: i64,
    /// Points that were to go back and stay with the member by the terms.
    pub stays: i64,
    /// The lot that they went to, as it was then.
    pub lot: LotKey,
}

impl Version {
    /// A wallet beside the main one.
    pub(super) fn other_wallet(&self, name: &str) -> Option<&WalletTerms> {
        self.terms.wallets.iter().find(|wallet| *wallet.name == *name)
    }

    /// How long the points of a wallet live.
    pub(super) fn life(&self, wallet: &str) -> &Life {
        self.other_wallet(wallet).and_then(|wallet| wallet.life.as_ref()).unwrap_or(&self.terms.life)
    }

    /// What parts give in wallets beside the main one, where that is something.
    pub(super) fn shares(&self, components: &[Component]) -> Result<Vec<Share>, Refusal> {
        let share = |wallet: &WalletTerms| Ok(Share { wallet: wallet.name.clone(), points: sum(components, Some(&wallet.name))? });
        let gives_something = |share: &Result<Share, Refusal>| !matches!(share, Ok(Share { points: 0, .. }));
        self.terms.wallets.iter().map(share).filter(gives_something).collect()
    }
}

impl Versions {
    /// Whether the one that holds at a moment, or one that will, has a wallet.
    fn have_wallet(&self, name: &str, now: Timestamp) -> bool {
        let ahead = self.holding().iter().filter(|version| version.start_at > now);
        ahead.chain([self.at(now)]).any(|version| version.other_wallet(name).is_some())
    }

    /// Until when sliding lots of a wallet live after the member did something in it at a moment, by the terms of then.
    pub(super) fn sliding_until(&self, wallet: &str, moment: Timestamp) -> Option<Timestamp> {
        self.at(moment).sliding_until(wallet, moment)
    }
}

impl Explanation {
    /// Points of a wallet; `None` is the main one.
    pub fn points_in(&self, wallet: Option<&str>) -> i64 {
        match wallet {
            None => self.points(),
            Some(name) => self.others.iter().find(|share| *share.wallet == *name).map_or(0, |share| share.points),
        }
    }
}

impl Command {
    /// The wallet that it names.
    fn wallet(&self) -> Option<&str> {
        match self {
            Command::Redeem(redeem) | Command::RedeemFromPool(RedeemFromPool { redeem, .. }) => Some(&redeem.wallet),
            Command::Reserve(reserve) => Some(&reserve.wallet),
            Command::Adjust(adjust) => Some(&adjust.wallet),
            Command::SetExpiry(change) => Some(&change.wallet),
            Command::Forgive(forgive) => Some(&forgive.wallet),
            Command::Transfer(transfer) => Some(&transfer.wallet),
            // What is taken back is so where it went to.
            Command::Ensure(Ensure { wallet, wanted: true, .. }) => Some(wallet),
            Command::Ensure(_)
            | Command::Award(_)
            | Command::Activity(_)
            | Command::RedeemReward(_)
            | Command::RefundReward(_)
            | Command::Capture(_)
            | Command::Release(_)
            | Command::Return(_)
            | Command::Resolve(_)
            | Command::Refund(_)
            | Command::Merge(_)
            | Command::Unmerge(_)
            | Command::ChangePool(_)
            | Command::LeavePool(_) => None,
        }
    }
}

impl Ledger<'_> {
    /// Refuses a wallet that neither the program has nor the account has had: none comes into being by a slip of the pen.
    pub(super) fn check_wallet(&self, command: &Command) -> Result<(), Refusal> {
        let is_had = |name: &str| name == MAIN_WALLET || self.account.wallet(name).is_some();
        let is_known = |name: &str| is_had(name) || self.versions.have_wallet(name, self.stamp.now);
        match command.wallet().filter(|name| !is_known(name)) {
            Some(name) => Err(Refusal::WalletNotFound { wallet: name.to_owned() }),
            None => Ok(()),
        }
    }
}
