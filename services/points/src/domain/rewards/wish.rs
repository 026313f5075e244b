use kernel::Uuid;

use super::voucher::{Voucher, VoucherState};
use crate::domain::AccountId;

/// What another service wants a member to have, or to have no more: a voucher for a reward, under a key of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// The hash of program and key.
    pub key: Uuid,
    /// Whose voucher it is.
    pub account: AccountId,
    /// The reward.
    pub reward: Uuid,
    /// The newest version that was seen.
    pub version: i64,
    /// The voucher that was issued last.
    pub voucher: Option<Uuid>,
}

/// What it takes to fulfil a wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wished {
    /// Nothing.
    Stands,
    /// A voucher is to be issued.
    Issue,
    /// The voucher is another, and its piece is there again when `restocks`.
    Changed {
        /// As it is afterwards.
        voucher: Box<Voucher>,
        /// A piece goes back into stock.
        restocks: bool,
    },
}

impl Wished {
    /// One that is to be had is issued unless there is one that was not taken back; one that was made worthless by hand is not made good by
    /// asking again. One that is to be had no more is taken back; when it is used it stays so, unless its order is cancelled.
    pub fn of(voucher: Option<&Voucher>, wanted: bool) -> Wished {
        let Some(voucher) = voucher else { return if wanted { Wished::Issue } else { Wished::Stands } };
        let recalled = |recalled| Voucher { recalled, version: voucher.version + 1, ..voucher.clone() };
        match (&voucher.state, wanted) {
            (VoucherState::Revoked { restocked: true, .. }, true) => Wished::Issue,
            (VoucherState::Usable, false) => Wished::Changed { voucher: Box::new(voucher.taken_back()), restocks: true },
            (VoucherState::Used(_), wanted) if voucher.recalled == wanted => {
                Wished::Changed { voucher: Box::new(recalled(!wanted)), restocks: false }
            }
            _ => Wished::Stands,
        }
    }

    /// Whether the member has the voucher, or has had it and used it.
    pub fn is_had(voucher: Option<&Voucher>) -> bool {
        voucher.is_some_and(|voucher| matches!(voucher.state, VoucherState::Usable | VoucherState::Used(_)))
    }
}
