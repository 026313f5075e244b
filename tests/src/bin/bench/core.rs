//! The ledger's pure core by itself.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use kernel::{CalendarUnit, Clock, Currency, MemberId, Period, ProgramId, Rounding, SystemClock, Uuid, Zone};
use points::domain::{
    Account, AccountId, Activation, Award, Basis, Command, Facts, Known, Ledger, Life, PointRounding, Promotions, PurchaseId,
    PurchaseInput, ReturnPolicy, Stamp, Terms, Version, Versions,
};
use rust_decimal::Decimal;

use crate::cpu::Processes;

const ACCOUNTS: usize = 1_000;
const AWARDS: u32 = 2_000_000;

/// CPU time that the core takes to award a purchase, microseconds: settling, award, entry and fold, with what a command and its
/// stamp take to make.
pub(crate) fn micros_per_award() -> anyhow::Result<f64> {
    let versions = Versions::new(vec![version()?]).context("a version")?;
    let mut accounts = vec![Account::default(); ACCOUNTS];
    let (program, facts) = (ProgramId::parse("bench")?, Facts::default());
    let known = Known::default();
    let (start, own) = (SystemClock.now(), Processes::One(std::process::id()));
    let before = own.cpu_seconds()?;
    for number in 0..AWARDS {
        let id = Uuid::from_u128(u128::from(number));
        let now = start + Duration::from_millis(u64::from(number));
        let text = id.to_string();
        let stamp = Stamp {
            operation: id,
            request_id: text.as_str().into(),
            actor: "apiKeys/bench".into(),
            terminal: "".into(),
            store: "programs/bench/stores/s1".into(),
            cashier: "".into(),
            presented: None,
            occurred_at: now,
            now,
        };
        let purchase = PurchaseInput {
            id: PurchaseId(text.into()),
            net: 2933,
            tax: 0,
            discount: 0,
            lines: Vec::new(),
            channel: "store".to_owned(),
            offer: String::new(),
            redemptions: Vec::new(),
        };
        let command = Command::Award(Award { program: program.clone(), member: Some(MemberId(id)), purchase });
        let account = &mut accounts[number as usize % ACCOUNTS];
        Ledger::open(AccountId(id), account, &versions, &facts, &stamp).settle();
        let (_, entries) = Ledger::open(AccountId(id), account, &versions, &facts, &stamp)
            .apply(&command, &known)
            .map_err(|refusal| anyhow!("the core refused an award: {refusal:?}"))?;
        // Otherwise nobody would use the entries, and the compiler could leave them out.
        std::hint::black_box(entries);
    }
    Ok((own.cpu_seconds()? - before) * 1e6 / f64::from(AWARDS))
}

/// The same terms as the service has in the measurement.
fn version() -> anyhow::Result<Version> {
    Ok(Version {
        number: 1,
        terms: std::sync::Arc::new(Terms {
            points_per_unit: Decimal::ONE,
            earn_rates: Vec::new(),
            basis: Basis::default(),
            rounding: PointRounding::Down,
            activation: Activation::Immediate,
            life: Life::For(Period { count: 1, unit: CalendarUnit::Year }, Rounding::EndOfMonth),
            remind_before: None,
            wallets: Vec::new(),
            activities: Vec::new(),
            promotions: Promotions::default(),
            challenges: Vec::new(),
            limits: Vec::new(),
            occasions: Vec::new(),
            tier_deficit_caps: Vec::new(),
            return_policy: ReturnPolicy::Unlimited,
            deficit_cap: None,
            restore_grace: None,
            reservation_ttl: Duration::from_secs(900),
        }),
        start_at: SystemClock.now(),
        zone: Zone::parse("Asia/Shanghai")?,
        currency: Currency::parse("CNY")?,
    })
}
