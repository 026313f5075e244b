use std::time::Duration;

use std::sync::Arc;

use kernel::{Currency, Period, Rounding, Timestamp, Uuid, Zone};
use rust_decimal::{Decimal, RoundingStrategy};

use super::earning::Earning;
use super::{
    Applied, AwardLimit, Basis, Basket, Challenge, EarnRate, Expiry, Facts, FrozenFacts, Gate, GiftOccasion, Gives, Limit, LineFilter,
    LotKey, Opening, Progress, Promotion, Promotions, Refusal, Rejection, Share, WalletTerms,
};

/// How fractions of a point are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PointRounding {
    /// Dropped.
    Down,
    /// Half a point and more count as one.
    HalfUp,
    /// Any fraction counts as a point.
    Up,
}

/// What a return takes back of points that were spent already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReturnPolicy {
    /// Only points of the purchase that are still pending.
    OnlyPending,
    /// Never more than there is.
    WithinBalance,
    /// What is missing becomes a deficit, up to the cap.
    Unlimited,
}

/// When points become spendable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Activation {
    /// At once.
    Immediate,
    /// A time after they were earned.
    After(Period),
    /// At a moment.
    At(Timestamp),
    /// When an event comes.
    On {
        /// Its name.
        event: Arc<str>,
        /// How long the points wait for it; `None` for ever.
        cancel_after: Option<Period>,
    },
}

/// How long points live, counted from when they become spendable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Life {
    /// For ever.
    Unlimited,
    /// For a time, rounded up.
    For(Period, Rounding),
    /// Until a moment.
    Until(Timestamp),
    /// As long as the member does something in every such time, rounded up.
    WhileActive(Period, Rounding),
}

/// What an activity earns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActivityTerms {
    /// Its name.
    pub name: String,
    /// Points each time.
    pub points: i64,
    /// The most that one member may earn by it.
    pub limit: Option<Limit>,
    /// It must be proved by a link.
    pub proof: bool,
    /// Its points wait until somebody approves it.
    pub approval: Option<Approval>,
    /// The wallet that its points go to; `None` for the main one.
    pub wallet: Option<Arc<str>>,
}

/// That somebody must approve an activity before its points can be spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Approval {
    /// How long they wait; `None` for ever.
    pub cancel_after: Option<Period>,
}

/// The rules of one version of a program.
#[derive(Clone, PartialEq, Debug)]
pub struct Terms {
    /// Points per major unit of money, where no other rate names what it is spent on.
    pub points_per_unit: Decimal,
    /// Other rates: of those that name a line, or a purchase without lines, the first counts.
    pub earn_rates: Vec<EarnRate>,
    /// What counts beside the net.
    pub basis: Basis,
    /// How each component is rounded.
    pub rounding: PointRounding,
    /// When points become spendable.
    pub activation: Activation,
    /// How long they live.
    pub life: Life,
    /// How long before an expiry it is announced.
    pub remind_before: Option<Period>,
    /// Wallets beside the main one.
    pub wallets: Vec<WalletTerms>,
    /// What is earned without a purchase.
    pub activities: Vec<ActivityTerms>,
    /// Extra points for purchases.
    pub promotions: Promotions,
    /// What members work towards.
    pub challenges: Vec<Challenge>,
    /// Limits of what is awarded.
    pub limits: Vec<AwardLimit>,
    /// Gifts by themselves.
    pub occasions: Vec<GiftOccasion>,
    /// What a return takes back.
    pub return_policy: ReturnPolicy,
    /// Greatest deficit; `None` for no bound.
    pub deficit_cap: Option<i64>,
    /// The same for members of a tier.
    pub tier_deficit_caps: Vec<(String, i64)>,
    /// How long points live again that go back to a lapsed lot; `None` when they lapse.
    pub restore_grace: Option<Period>,
    /// How long a reservation holds unless told.
    pub reservation_ttl: Duration,
}

/// A version of a program's terms, with what of the program its arithmetic needs.
#[derive(Clone, PartialEq, Debug)]
pub struct Version {
    /// The number, from 1.
    pub number: i64,
    /// The rules.
    pub terms: Arc<Terms>,
    /// From when they hold.
    pub start_at: Timestamp,
    /// The program's zone.
    pub zone: Zone,
    /// The program's currency.
    pub currency: Currency,
}

/// A part of an award.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Component {
    /// "base", "base:coffee", "tier:gold", "promotion:double-tuesday", or "limit:per-day" for what a limit cuts off.
    pub source: String,
    /// The earn rate or multiplier; `None` for points that do not depend on money.
    pub factor: Option<Decimal>,
    /// Points after rounding and the bound of a promotion.
    pub points: i64,
    /// Points before that bound.
    pub desired: i64,
    /// What a receipt calls a promotion, or another wallet.
    pub title: String,
    /// The wallet that it is for; `None` for the main one.
    pub wallet: Option<Arc<str>>,
}

/// How the points of a purchase are worked out. Figures are those of the main wallet unless another is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// Points before multipliers.
    pub base: i64,
    /// What multipliers and promotions add, less what limits cut off.
    pub bonus: i64,
    /// The parts.
    pub components: Vec<Component>,
    /// Points of other wallets.
    pub others: Vec<Share>,
    /// Promotions that were running when it was awarded and gave nothing: in a preview all of them, else those that another basket might
    /// have got something of.
    pub rejected: Vec<(Arc<str>, Rejection)>,
    /// How far it has brought the member with challenges.
    pub challenges: Vec<Progress>,
}

impl Explanation {
    /// Points of the main wallet in all.
    pub fn points(&self) -> i64 {
        self.base + self.bonus
    }
}

impl Version {
    /// The points that a purchase, or what is left of it, earns under these terms and the facts of its day. The same for an award, its
    /// preview and a return: base = round(what counts ÷ minor units per unit × rate) for each rate; the tier adds
    /// round(base × (multiplier − 1)), a promotion the same of the base of the lines that count, or its points; one rounding step each, and
    /// none multiplies another. What is beyond a limit is cut off in the end. Other wallets have a base of their own, and promotions; tiers
    /// and limits are about the main one.
    pub fn points_for(&self, basket: &Basket<'_>, facts: &FrozenFacts) -> Result<Explanation, Refusal> {
        let earning = Earning::of(self, basket);
        let plain = |source: String, factor, points| Component {
            source,
            factor: Some(factor),
            points,
            desired: points,
            title: String::new(),
            wallet: None,
        };
        let of_rate = |(rate, points): (Option<&EarnRate>, i64)| match rate {
            Some(rate) => plain(format!("base:{}", rate.id), rate.points_per_unit, points),
            None => plain("base".to_owned(), self.terms.points_per_unit, points),
        };
        let mut components = earning.parts().map(|part| part.map(of_rate)).collect::<Result<Vec<_>, _>>()?;
        let base = sum(&components, None)?;
        if facts.multiplier != Decimal::ONE {
            components.push(plain(format!("tier:{}", facts.tier), facts.multiplier, self.multiplied(base, facts.multiplier)?));
        }
        for wallet in self.terms.wallets.iter().filter(|wallet| !wallet.points_per_unit.is_zero()) {
            let points = earning.base_in(wallet, &LineFilter::default())?;
            let (title, name) = (wallet.title.clone(), Some(wallet.name.clone()));
            components.push(Component { title, wallet: name, ..plain("base".to_owned(), wallet.points_per_unit, points) });
        }
        for (promotion, applied) in self.applied(facts) {
            // What it asks for may have gone back.
            let Ok(bonus) = promotion.bonus(&earning, applied.at_most)? else { continue };
            components.push(Component {
                source: format!("promotion:{}", promotion.id),
                factor: if let Gives::Multiplier(multiplier) = promotion.gives { Some(multiplier) } else { None },
                points: bonus.granted,
                desired: bonus.desired,
                title: promotion.title.clone(),
                wallet: promotion.wallet.clone(),
            });
        }
        let (bonus, others) = (sum(&components, None)? - base, self.shares(&components)?);
        Ok(Explanation { base, bonus, components, others, rejected: Vec::new(), challenges: Vec::new() }.cut(facts.bound.as_ref()))
    }

    /// The promotions that applied to a purchase: they are kept in the order of the version.
    pub(super) fn applied<'a>(&'a self, facts: &'a FrozenFacts) -> impl Iterator<Item = (&'a Promotion, &'a Applied)> {
        facts.promotions.iter().filter_map(|applied| Some((self.terms.promotions.find(&applied.id)?, applied)))
    }

    /// The points of an amount of minor units at a rate, before everything that adds to them.
    pub(super) fn base_points(&self, minor: i128, rate: Decimal) -> Result<i64, Refusal> {
        let minor = Decimal::try_from_i128_with_scale(minor, 0).map_err(|_| Refusal::Overflow)?;
        let units = minor.checked_div(Decimal::from(self.currency.minor_per_unit())).ok_or(Refusal::Overflow)?;
        self.round(units.checked_mul(rate).ok_or(Refusal::Overflow)?)
    }

    /// What a multiplier adds.
    pub(super) fn multiplied(&self, base: i64, multiplier: Decimal) -> Result<i64, Refusal> {
        let extra = multiplier.checked_sub(Decimal::ONE).ok_or(Refusal::Overflow)?;
        self.round(Decimal::from(base).checked_mul(extra).ok_or(Refusal::Overflow)?)
    }

    /// The lot of a wallet that a credit of `occurred_at` belongs to, as it stands at `now`. `operation` and `reference` tell which gate
    /// is meant, where it waits for an event.
    pub fn lot_for(&self, wallet: &str, occurred_at: Timestamp, now: Timestamp, operation: Uuid, reference: &Arc<str>) -> LotKey {
        let opens_at = match &self.terms.activation {
            Activation::Immediate => occurred_at,
            Activation::After(period) => period.after(occurred_at, &self.zone),
            Activation::At(at) => (*at).max(occurred_at),
            Activation::On { event, cancel_after } => {
                let gate = Gate {
                    event: event.clone(),
                    cancel_at: cancel_after.map(|period| period.after(occurred_at, &self.zone)),
                    operation,
                    reference: reference.clone(),
                    version: self.number,
                };
                let earn_month = earn_month(occurred_at, &self.zone);
                return LotKey { expiry: Expiry::Never, earn_month, opening: Opening::On(gate), origin: None };
            }
        };
        LotKey {
            expiry: self.expiry_from(wallet, opens_at),
            earn_month: earn_month(occurred_at, &self.zone),
            opening: if opens_at > now { Opening::At(opens_at) } else { Opening::Open },
            origin: None,
        }
    }

    /// The lot of an activity that somebody must approve: it waits for an event of the activity's own name.
    pub fn unapproved_lot(&self, activity: &str, approval: Approval, at: Timestamp, operation: Uuid, reference: &Arc<str>) -> LotKey {
        let cancel_at = approval.cancel_after.map(|period| period.after(at, &self.zone));
        let gate = Gate { event: activity.into(), cancel_at, operation, reference: reference.clone(), version: self.number };
        LotKey { expiry: Expiry::Never, earn_month: earn_month(at, &self.zone), opening: Opening::On(gate), origin: None }
    }

    /// The same for points that wait for nothing, whatever the terms say of purchases.
    pub fn open_lot_for(&self, wallet: &str, occurred_at: Timestamp) -> LotKey {
        let earn_month = earn_month(occurred_at, &self.zone);
        LotKey { expiry: self.expiry_from(wallet, occurred_at), earn_month, opening: Opening::Open, origin: None }
    }

    /// When points of a wallet lapse that become spendable at `opens_at`.
    pub fn expiry_from(&self, wallet: &str, opens_at: Timestamp) -> Expiry {
        match *self.life(wallet) {
            Life::Unlimited => Expiry::Never,
            Life::For(period, rounding) => Expiry::at(rounding.up(period.after(opens_at, &self.zone), &self.zone)),
            Life::Until(at) => Expiry::at(at),
            Life::WhileActive(..) => Expiry::Sliding,
        }
    }

    /// Until when sliding lots of a wallet live after the member did something in it at `moment`; `None` when nothing slides there under
    /// these terms.
    pub fn sliding_until(&self, wallet: &str, moment: Timestamp) -> Option<Timestamp> {
        let Life::WhileActive(period, rounding) = *self.life(wallet) else { return None };
        Some(rounding.up(period.after(moment, &self.zone), &self.zone))
    }

    /// The greatest deficit of a member at `now`, in each wallet: the most generous of his tiers counts, `None` is no bound.
    pub fn deficit_cap(&self, facts: &Facts, now: Timestamp) -> Option<i64> {
        let of_tiers = facts.tiers_at(now).filter_map(|tier| self.terms.tier_deficit_caps.iter().find(|(name, _)| *name == tier.tier));
        of_tiers.map(|(_, cap)| *cap).max().or(self.terms.deficit_cap)
    }

    fn round(&self, points: Decimal) -> Result<i64, Refusal> {
        let strategy = match self.terms.rounding {
            PointRounding::Down => RoundingStrategy::ToZero,
            PointRounding::HalfUp => RoundingStrategy::MidpointAwayFromZero,
            PointRounding::Up => RoundingStrategy::AwayFromZero,
        };
        i64::try_from(points.round_dp_with_strategy(0, strategy)).map_err(|_| Refusal::Overflow)
    }
}

/// What parts give in a wallet; `None` is the main one.
pub(super) fn sum(components: &[Component], wallet: Option<&str>) -> Result<i64, Refusal> {
    let parts = components.iter().filter(|part| part.wallet.as_deref() == wallet);
    parts.map(|part| part.points).try_fold(0_i64, i64::checked_add).ok_or(Refusal::Overflow)
}

/// Year times 12 plus month 0 to 11.
pub(super) fn earn_month(moment: Timestamp, zone: &Zone) -> i32 {
    let day = moment.date_in(zone);
    i32::from(day.year()) * 12 + i32::from(day.month()) - 1
}

/// The versions of a program's terms that hold, each at its time; never empty.
#[derive(Clone, PartialEq, Debug)]
pub struct Versions {
    holding: Vec<Version>,
    given_up: Vec<Version>,
}

impl Versions {
    /// From the versions in ascending order; `None` when there are none.
    pub fn new(holding: Vec<Version>) -> Option<Versions> {
        (!holding.is_empty()).then_some(Versions { holding, given_up: Vec::new() })
    }

    /// With those that were to hold and were given up: what was made under one by a clock that was ahead is still worked out by it.
    #[must_use]
    pub fn with_given_up(self, given_up: Vec<Version>) -> Versions {
        Versions { given_up, ..self }
    }

    /// Those that hold, each at its time.
    pub(super) fn holding(&self) -> &[Version] {
        &self.holding
    }

    /// The version for what happens at a moment: the newest that has started, or the first for what lies before it.
    pub fn at(&self, moment: Timestamp) -> &Version {
        self.holding.iter().rev().find(|version| version.start_at <= moment).unwrap_or(&self.holding[0])
    }

    /// The version that held at a moment; `None` for what lies before the first.
    pub fn held_at(&self, moment: Timestamp) -> Option<&Version> {
        Some(self.at(moment)).filter(|version| version.start_at <= moment)
    }

    /// A version by its number, for purchases that were made under it.
    pub fn number(&self, number: i64) -> Option<&Version> {
        self.holding.iter().chain(&self.given_up).find(|version| version.number == number)
    }
}
