//! What vouchers that are used keep from others: an order, and the first order of a member. The rows are locked after everything else, those
//! of orders first.

use std::collections::{BTreeMap, BTreeSet};

use kernel::Uuid;
use persistence::{Error, Tx};

use super::super::{UseVoucher, VoucherChange, VoucherJob};
use super::Batch;
use crate::domain::rewards::{Buyer, Hold, Holder, Voucher, VoucherTerms};
use crate::executor::Target;
use crate::message::rewards as told;
use crate::program::Program;
use crate::store;

/// Holds as a batch has read them, and as they stand after the changes so far.
#[derive(Default)]
pub(super) struct Holds {
    known: BTreeMap<Uuid, Hold>,
    /// The versions at which they were read; 0 for those that were not there.
    read_at: BTreeMap<Uuid, i64>,
}

impl Holds {
    async fn lock(&mut self, tx: &mut Tx, keys: BTreeSet<Uuid>) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut found = store::lock_holds(tx, &Vec::from_iter(keys.iter().copied())).await?;
        for key in keys {
            let hold = found.remove(&key).unwrap_or_default();
            self.read_at.insert(key, hold.version);
            self.known.insert(key, hold);
        }
        Ok(())
    }

    /// Writes what has changed.
    pub(super) async fn write(&self, tx: &mut Tx) -> Result<(), Error> {
        let all = self.known.iter().map(|(key, hold)| (*key, self.read_at.get(key).copied().unwrap_or(0), hold));
        let changed: Vec<_> = all.filter(|(_, read_at, hold)| hold.version != *read_at).collect();
        store::write_holds(tx, &changed).await
    }
}

impl Batch<'_> {
    /// Locks and reads what the jobs may hold or let go.
    pub(super) async fn load_holds(&mut self, tx: &mut Tx, jobs: &[VoucherJob]) -> Result<(), Error> {
        let order_of = |job: &VoucherJob| match &job.change {
            VoucherChange::Use(UseVoucher { order, .. }) | VoucherChange::Void { order, .. } => {
                Some(Target::order_of_vouchers(&job.program.id, order))
            }
            _ => None,
        };
        let mut holds = Holds::default();
        holds.lock(tx, jobs.iter().filter_map(order_of).collect()).await?;
        let mut firsts = BTreeSet::new();
        for job in jobs {
            match &job.change {
                VoucherChange::Use(shown) => {
                    if let Some(voucher) = self.shown(&job.program.id, &shown.code)
                        && told::issued_terms(voucher)?.conditions.first_order
                    {
                        firsts.extend(self.first_orders(&job.program, voucher));
                    }
                }
                VoucherChange::Void { .. } => {
                    let holders = order_of(job).and_then(|key| holds.known.get(&key)).into_iter().flat_map(|hold| &hold.holders);
                    firsts.extend(holders.flat_map(|holder| holder.first_orders.iter().copied()));
                }
                _ => {}
            }
        }
        holds.lock(tx, firsts).await?;
        self.holds = holds;
        Ok(())
    }

    /// The keys of a member's first order, that of whoever survived him first: each of those whom that one took in may have one.
    fn first_orders(&self, program: &Program, voucher: &Voucher) -> Vec<Uuid> {
        let (account, held) = self.surviving(&program.id, voucher.account);
        held.account.accounts(account).into_iter().map(|account| Target::first_order(&program.id, account)).collect()
    }

    /// Who shows a voucher, with what others hold.
    pub(super) fn beside(&self, program: &Program, voucher: &Voucher, terms: &VoucherTerms, order: &str, buyer: Buyer) -> Buyer {
        let of_order = self.holds.known.get(&Target::order_of_vouchers(&program.id, order));
        let firsts = if terms.conditions.first_order { self.first_orders(program, voucher) } else { Vec::new() };
        buyer.beside(terms, order, of_order, firsts.iter().filter_map(|key| self.holds.known.get(key)))
    }

    /// A voucher is used for an order.
    pub(super) fn hold(&mut self, program: &Program, voucher: &Voucher, terms: &VoucherTerms, order: &str) {
        let mut first_orders = Vec::new();
        if terms.conditions.first_order {
            let survivor = self.surviving(&program.id, voucher.account).0;
            first_orders
                .extend(BTreeSet::from([survivor, voucher.account]).into_iter().map(|account| Target::first_order(&program.id, account)));
        }
        let combining = terms.combining.clone();
        let holder = Holder { voucher: voucher.id, order: order.to_owned(), combining, first_orders };
        let of_order = Target::order_of_vouchers(&program.id, order);
        for key in std::iter::once(of_order).chain(holder.first_orders.iter().copied()) {
            self.holds.known.entry(key).or_default().add(holder.clone());
        }
    }

    /// It is used for it no more.
    pub(super) fn let_go(&mut self, program: &Program, voucher: &Voucher, order: &str) {
        let of_order = self.holds.known.get_mut(&Target::order_of_vouchers(&program.id, order));
        let Some(holder) = of_order.and_then(|hold| hold.remove(voucher.id)) else { return };
        for key in holder.first_orders {
            if let Some(hold) = self.holds.known.get_mut(&key) {
                hold.remove(voucher.id);
            }
        }
    }
}
