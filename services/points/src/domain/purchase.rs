use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use rust_decimal::Decimal;

use super::{Earned, LotKey, Tallied};

/// A purchase's id in its program, as the caller made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PurchaseId(pub Arc<str>);

/// One line of a purchase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The till's id of the line.
    pub id: String,
    /// Article number.
    pub sku: String,
    /// Category.
    pub category: String,
    /// Pieces bought.
    pub quantity: i64,
    /// Net of the whole line, minor units.
    pub net: i64,
    /// Tax on it.
    pub tax: i64,
    /// What was taken off before it.
    pub discount: i64,
    /// Pieces that have gone back.
    pub returned: i64,
}

impl Line {
    /// Pieces that have not gone back.
    pub fn left(&self) -> i64 {
        self.quantity - self.returned
    }

    /// The net of those pieces.
    pub fn kept_net(&self) -> i64 {
        i64::try_from(self.kept(self.net.into())).expect("a part of an i64")
    }
}

/// What was bought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PurchaseInput {
    /// Its id.
    pub id: PurchaseId,
    /// The money that was paid, after discounts and without tax, minor units of the program's currency.
    pub net: i64,
    /// Tax on it, where there are no lines to tell.
    pub tax: i64,
    /// What was taken off before it, where there are no lines to tell.
    pub discount: i64,
    /// The lines.
    pub lines: Vec<Line>,
    /// How it was bought.
    pub channel: String,
    /// Offer that led to it.
    pub offer: String,
    /// Operations that spent points on it.
    pub redemptions: Vec<Uuid>,
}

/// The facts of the day a purchase was made, kept so that a return works with the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrozenFacts {
    /// Number of the program version.
    pub version: i64,
    /// The tier that applied; empty when none.
    pub tier: String,
    /// What base points are multiplied by.
    pub multiplier: Decimal,
    /// It was the member's first.
    pub first_purchase: bool,
    /// The promotions that applied.
    pub promotions: Vec<Applied>,
    /// The challenges that it counted for.
    pub tallied: Vec<Tallied>,
    /// What a limit let through of the points, where that was not all.
    pub bound: Option<Bound>,
}

/// What a limit of awards lets through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The limit.
    pub limit: Arc<str>,
    /// Points.
    pub points: i64,
}

/// A promotion that applied to a purchase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Its id in the version.
    pub id: Arc<str>,
    /// The points that could still be got of it then; `None` where it has no limit.
    pub at_most: Option<i64>,
}

impl FrozenFacts {
    /// Those of a stranger's purchase.
    pub fn of_stranger(version: i64) -> FrozenFacts {
        FrozenFacts {
            version,
            tier: String::new(),
            multiplier: Decimal::ONE,
            first_purchase: false,
            promotions: Vec::new(),
            tallied: Vec::new(),
            bound: None,
        }
    }
}

/// Where something was bought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// The store's name; empty when not told.
    pub store: &'a str,
    /// The terminal's name; empty when not told.
    pub terminal: &'a str,
    /// The staff number of who sold it; empty when not told.
    pub cashier: &'a str,
}

/// What points are worked out from: a purchase, or what is left of it.
#[derive(Clone, Copy, Debug)]
pub struct Basket<'a> {
    /// The money that is left of it, minor units.
    pub net: i64,
    /// The same of the whole purchase.
    pub whole_net: i64,
    /// Tax on the whole, where there are no lines.
    pub tax: i64,
    /// What was taken off the whole, where there are no lines.
    pub discount: i64,
    /// What was left of the net after the last return by amount; `None` when there was none.
    pub amount_left: Option<i64>,
    /// The lines, with what has gone back.
    pub lines: &'a [Line],
    /// How it was bought.
    pub channel: &'a str,
    /// The offer that led to it.
    pub offer: &'a str,
    /// The store's name.
    pub store: &'a str,
    /// When it was bought.
    pub occurred_at: Timestamp,
}

impl Basket<'_> {
    /// Whether nothing is left, or nothing was bought.
    pub fn is_empty(&self) -> bool {
        if self.whole_net > 0 { self.net == 0 } else { self.lines.iter().all(|line| line.left() == 0) }
    }
}

/// A purchase as the ledger keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Purchase {
    /// The program.
    pub program: ProgramId,
    /// The buyer; `None` for a stranger.
    pub member: Option<MemberId>,
    /// What was bought, with what has gone back.
    pub input: PurchaseInput,
    /// What is left of the net.
    pub remaining_net: i64,
    /// What was left of it after the last return by amount; `None` when there was none.
    pub amount_left: Option<i64>,
    /// Points before multipliers that it deserves now.
    pub base: i64,
    /// Points of the main wallet that it deserves now.
    pub due: i64,
    /// Points of the main wallet that were to go back and stay with the member by the terms.
    pub stays: i64,
    /// Points that were spent on it.
    pub redeemed: i64,
    /// Points of them that its returns have given back.
    pub given_back: i64,
    /// The lot that these went to, as it was then; `None` when it earned none for anybody.
    pub lot: Option<LotKey>,
    /// What it earned in other wallets.
    pub others: Vec<Earned>,
    /// The facts of its day.
    pub facts: FrozenFacts,
    /// How many returns there were.
    pub returns: i64,
    /// The store's name.
    pub store: Arc<str>,
    /// The terminal's name.
    pub terminal: Arc<str>,
    /// The staff number of who sold it.
    pub cashier: Arc<str>,
    /// When it was bought.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The operation that recorded it.
    pub operation: Uuid,
}

impl Purchase {
    /// Where it was bought.
    pub fn place(&self) -> Place<'_> {
        Place { store: &self.store, terminal: &self.terminal, cashier: &self.cashier }
    }

    /// Points of a wallet that were to go back and stay with the member; `None` is the main one.
    pub(super) fn stays_in(&self, wallet: Option<&str>) -> i64 {
        let Some(wallet) = wallet else { return self.stays };
        self.others.iter().find(|earned| *earned.wallet == *wallet).map_or(0, |earned| earned.stays)
    }

    /// The same before anything of it went back.
    pub(super) fn as_bought(&self) -> Purchase {
        let mut bought = Purchase { remaining_net: self.input.net, amount_left: None, ..self.clone() };
        bought.input.lines.iter_mut().for_each(|line| line.returned = 0);
        bought
    }

    /// When its points lapse; `None` for never, and where that moment moves on or is not known yet.
    pub fn lapses_at(&self) -> Option<Timestamp> {
        self.lot.as_ref()?.lapses_at(None)
    }

    /// What is left of it.
    pub fn basket(&self) -> Basket<'_> {
        Basket {
            net: self.remaining_net,
            whole_net: self.input.net,
            tax: self.input.tax,
            discount: self.input.discount,
            amount_left: self.amount_left,
            lines: &self.input.lines,
            channel: &self.input.channel,
            offer: &self.input.offer,
            store: &self.store,
            occurred_at: self.occurred_at,
        }
    }
}
