use kernel::Uuid;

use super::voucher::{Buyer, VoucherTerms};

/// How many vouchers an order may have.
const VOUCHERS_MAX: usize = 100;

/// Which other vouchers an order may have beside one. By default any that do not stand alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Combining {
    /// None.
    pub alone: bool,
    /// None of the same group.
    pub group: Option<String>,
}

impl Combining {
    fn goes_with(&self, other: &Combining) -> bool {
        let of_one_group = self.group.is_some() && self.group == other.group;
        !self.alone && !other.alone && !of_one_group
    }
}

/// A voucher that is used, with what it keeps from others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The voucher.
    pub voucher: Uuid,
    /// The order that it is bound to.
    pub order: String,
    /// What it excludes.
    pub combining: Combining,
    /// The holds that it has on first orders, too: that of its member and that of whoever had survived him when it was used, so that it
    /// keeps both once they are parted.
    pub first_orders: Vec<Uuid>,
}

/// The vouchers that hold an order, or the first order of a member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hold {
    /// They.
    pub holders: Vec<Holder>,
    /// Counts the changes.
    pub version: i64,
}

impl Hold {
    /// With one more.
    pub fn add(&mut self, holder: Holder) {
        self.version += 1;
        self.holders.push(holder);
    }

    /// Without the voucher, which it gives back.
    pub fn remove(&mut self, voucher: Uuid) -> Option<Holder> {
        let place = self.holders.iter().position(|holder| holder.voucher == voucher)?;
        self.version += 1;
        Some(self.holders.remove(place))
    }
}

impl Buyer {
    /// The same with what other vouchers hold: the order, and his first order.
    #[must_use]
    pub fn beside<'a>(
        mut self,
        terms: &VoucherTerms,
        order: &str,
        of_order: Option<&Hold>,
        mut of_first: impl Iterator<Item = &'a Hold>,
    ) -> Buyer {
        let has_room = |hold: &Hold| {
            hold.holders.len() < VOUCHERS_MAX && hold.holders.iter().all(|holder| holder.combining.goes_with(&terms.combining))
        };
        self.is_order_free = of_order.is_none_or(has_room);
        let is_elsewhere = of_first.any(|hold| hold.holders.iter().any(|holder| holder.order != order));
        self.situation.first_order &= !is_elsewhere;
        self
    }
}
