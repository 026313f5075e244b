//! What tills and back ends ask of the suite.

use anyhow::bail;
use bytes::Bytes;
use kernel::Uuid;
use prost::Message;
use prost_types::Timestamp;
use proto::common::Money;
use proto::points::voucher_terms::{AmountOff, Effect};
use proto::points::{
    AwardRequest, Basket, CaptureRequest, GetBalanceRequest, GrantReason, GrantVoucherRequest, PurchaseInput, PurchaseLine, RedeemRequest,
    ReleaseRequest, Reservation, ReserveRequest, UseVoucherRequest, VoucherTerms,
};
use tonic::Code;

use crate::wire::{Rpc, Wire};

/// The program of most measurements: points live for a year and lapse at the end of a month, so a member has few lots.
pub(crate) const PROGRAM: &str = "programs/bench";

/// A program whose points lapse at the end of a day: every day's purchases are a lot of their own.
pub(crate) const PROGRAM_OF_DAYS: &str = "programs/days";

/// A program with the terms of the first and many promotions.
pub(crate) const PROGRAM_OF_PROMOTIONS: &str = "programs/promoted";

/// The same program, where one of the promotions that apply to every purchase has a budget that all members share.
pub(crate) const PROGRAM_OF_BUDGETS: &str = "programs/budgeted";

/// Members of a program that no other measurement uses.
#[derive(Clone, Copy)]
pub(crate) struct Members {
    program: &'static str,
    /// Tells these members from others.
    group: u64,
    count: u64,
}

impl Members {
    pub(crate) fn new(program: &'static str, group: u64, count: u64) -> Members {
        Members { program, group, count }
    }

    pub(crate) fn count(self) -> u64 {
        self.count
    }

    pub(crate) fn id(self, number: u64) -> Uuid {
        Uuid::from_u128(u128::from(self.group) << 64 | u128::from(number))
    }

    /// The name of a member, numbered from 0.
    pub(crate) fn name(self, number: u64) -> String {
        format!("{}/members/{}", self.program, self.id(number))
    }

    /// The number of the member for a call: neighbours in time are no neighbours in any index.
    pub(crate) fn spread_number(self, call: u64) -> u64 {
        call.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.count
    }

    /// The name of the member for a call.
    pub(crate) fn spread(self, call: u64) -> String {
        self.name(self.spread_number(call))
    }

    /// The members in turn, each so many times, or `None` when all have had theirs.
    pub(crate) fn in_turn(self, call: u64, times: u64) -> Option<String> {
        let number = call / times;
        (number < self.count).then(|| self.name(number))
    }
}

/// A call with its message.
pub(crate) enum Call {
    Award(AwardRequest),
    /// An award in a foreign currency: it is refused when all but the ledger itself has seen it.
    Refused(AwardRequest),
    Redeem(RedeemRequest),
    Reserve(ReserveRequest),
    Capture(CaptureRequest),
    Release(ReleaseRequest),
    Balance(GetBalanceRequest),
    Grant(GrantVoucherRequest),
    UseVoucher(UseVoucherRequest),
}

impl Call {
    /// Awards a purchase of this net, in minor units: a point for each hundred.
    pub(crate) fn award(member: String, net: i64) -> Call {
        Call::Award(award(member, "CNY", net))
    }

    /// Awards a purchase of three lines in a store of the program.
    pub(crate) fn award_of_lines(member: String, program: &str) -> Call {
        let line = |number: usize, net_minor_units| PurchaseLine {
            line_id: number.to_string(),
            sku: format!("sku-{number}"),
            category: format!("category-{number}"),
            quantity: 1,
            net_minor_units,
            ..PurchaseLine::default()
        };
        let whole = award(member, "CNY", 2933);
        let purchase = whole.purchase.map(|purchase| PurchaseInput {
            lines: vec![line(1, 1200), line(2, 1000), line(3, 733)],
            store: format!("{program}/stores/store-1"),
            channel: "channel_1".to_owned(),
            ..purchase
        });
        Call::Award(AwardRequest { purchase, ..whole })
    }

    /// Awards a purchase of old, of 29 points.
    pub(crate) fn award_of(member: String, occur_time: Timestamp) -> Call {
        let AwardRequest { purchase, .. } = award(member.clone(), "CNY", 2933);
        let purchase = purchase.map(|purchase| PurchaseInput { occur_time: Some(occur_time), ..purchase });
        Call::Award(AwardRequest { purchase, historical: true, ..award(member, "CNY", 2933) })
    }

    pub(crate) fn refused(member: String) -> Call {
        Call::Refused(award(member, "EUR", 2933))
    }

    pub(crate) fn redeem(member: String, points: i64) -> Call {
        Call::Redeem(RedeemRequest {
            cashier: String::new(),
            member,
            points,
            mode: 0,
            wallet: String::new(),
            reference: "order".to_owned(),
            store: String::new(),
            terminal: String::new(),
            request_id: id().to_string(),
        })
    }

    pub(crate) fn reserve(member: String, points: i64) -> Call {
        Call::Reserve(ReserveRequest {
            cashier: String::new(),
            member,
            points,
            wallet: String::new(),
            ttl: None,
            reference: "order".to_owned(),
            store: String::new(),
            terminal: String::new(),
            request_id: id().to_string(),
            several_captures: false,
        })
    }

    pub(crate) fn capture(reservation: String) -> Call {
        let (store, terminal) = (String::new(), String::new());
        Call::Capture(CaptureRequest {
            cashier: String::new(),
            name: reservation,
            points: None,
            store,
            terminal,
            request_id: id().to_string(),
            last: false,
        })
    }

    pub(crate) fn release(reservation: String) -> Call {
        Call::Release(ReleaseRequest { name: reservation, request_id: id().to_string() })
    }

    pub(crate) fn balance(member: String) -> Call {
        Call::Balance(GetBalanceRequest { member, ..GetBalanceRequest::default() })
    }

    /// Grants a voucher of five yuan off.
    pub(crate) fn grant(member: String, number: u64) -> Call {
        let amount = Some(Money { currency_code: "CNY".to_owned(), minor_units: 500 });
        Call::Grant(GrantVoucherRequest {
            parent: member,
            grant_key: format!("bench/{number}"),
            reason: GrantReason::Campaign.into(),
            title: "Five yuan off".to_owned(),
            terms: Some(VoucherTerms { effect: Some(Effect::AmountOff(AmountOff { amount })), ..VoucherTerms::default() }),
            request_id: id().to_string(),
        })
    }

    /// Uses it for an order of three lines.
    pub(crate) fn use_voucher(code: String, number: u64) -> Call {
        let Call::Award(AwardRequest { purchase: Some(purchase), .. }) = Call::award_of_lines(String::new(), PROGRAM) else {
            unreachable!("an award of lines is an award with a purchase")
        };
        let PurchaseInput { lines, store, channel, .. } = purchase;
        Call::UseVoucher(UseVoucherRequest {
            parent: PROGRAM.to_owned(),
            code,
            basket: Some(Basket { currency_code: "CNY".to_owned(), lines, delivery_minor_units: 0, store, channel }),
            order_reference: format!("order-{number}"),
            request_id: id().to_string(),
            offline: None,
        })
    }

    /// Makes the call. Its value is the reservation that it has opened, or the code of the voucher that it has granted.
    pub(crate) async fn make(self, caller: &Caller) -> anyhow::Result<Option<String>> {
        let Caller { wire, award, redeem, reserve, capture, release, balance, grant, use_voucher } = caller;
        let answer = match &self {
            Call::Award(message) | Call::Refused(message) => wire.call(award, message).await?,
            Call::Redeem(message) => wire.call(redeem, message).await?,
            Call::Reserve(message) => wire.call(reserve, message).await?,
            Call::Capture(message) => wire.call(capture, message).await?,
            Call::Release(message) => wire.call(release, message).await?,
            Call::Balance(message) => wire.call(balance, message).await?,
            Call::Grant(message) => wire.call(grant, message).await?,
            Call::UseVoucher(message) => wire.call(use_voucher, message).await?,
        };
        match (self, answer) {
            (Call::Refused(_), Err(code)) if code == Code::InvalidArgument as i32 => Ok(None),
            (Call::Refused(_), Ok(_)) => bail!("an award in a foreign currency was not refused"),
            (_, Err(code)) => bail!("a call was answered with {:?}", Code::from_i32(code)),
            (Call::Balance(_) | Call::UseVoucher(_), Ok(_)) => Ok(None),
            (Call::Grant(_), Ok(voucher)) => Ok(Some(GlanceAtVoucher::decode(voucher)?.code)),
            (_, Ok(operation)) => {
                let Glance { entries, reservation } = Glance::decode(operation)?;
                if entries.is_empty() {
                    bail!("an operation moved no points");
                }
                Ok(reservation.map(|reservation| reservation.name))
            }
        }
    }
}

/// A connection with the RPCs that loads are made of.
#[derive(Clone)]
pub(crate) struct Caller {
    wire: Wire,
    award: Rpc,
    redeem: Rpc,
    reserve: Rpc,
    capture: Rpc,
    release: Rpc,
    balance: Rpc,
    grant: Rpc,
    use_voucher: Rpc,
}

impl Caller {
    pub(crate) fn new(wire: Wire) -> anyhow::Result<Caller> {
        let [award, redeem, reserve] = [wire.rpc("Award")?, wire.rpc("Redeem")?, wire.rpc("Reserve")?];
        let [capture, release, balance] = [wire.rpc("Capture")?, wire.rpc("Release")?, wire.rpc("GetBalance")?];
        let [grant, use_voucher] = [wire.rpc_of_rewards("GrantVoucher")?, wire.rpc_of_rewards("UseVoucher")?];
        Ok(Caller { wire, award, redeem, reserve, capture, release, balance, grant, use_voucher })
    }
}

/// What is looked at of an `Operation`: a till prints a receipt, and pgbench looks at nothing.
#[derive(Clone, PartialEq, Message)]
struct Glance {
    #[prost(bytes = "bytes", repeated, tag = "5")]
    entries: Vec<Bytes>,
    #[prost(message, optional, tag = "10")]
    reservation: Option<Reservation>,
}

/// What is looked at of a `Voucher`.
#[derive(Clone, PartialEq, Message)]
struct GlanceAtVoucher {
    #[prost(string, tag = "5")]
    code: String,
}

fn award(member: String, currency: &str, net: i64) -> AwardRequest {
    let id = id();
    let parent = member.split_once("/members/").map_or(PROGRAM, |(program, _)| program).to_owned();
    AwardRequest {
        purchase: Some(PurchaseInput {
            cashier: String::new(),
            purchase_id: id.to_string(),
            net: Some(Money { currency_code: currency.to_owned(), minor_units: net }),
            store: format!("{parent}/stores/s1"),
            channel: "store".to_owned(),
            ..PurchaseInput::default()
        }),
        parent,
        member,
        historical: false,
        request_id: id.to_string(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a till's ids are its own")]
fn id() -> Uuid {
    Uuid::now_v7()
}
