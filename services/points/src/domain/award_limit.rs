//! What limits of the terms let through of awards, and what of an award is counted where. A bound never rises when something goes back:
//! what a limit let through is kept with the purchase, and so is what it left of each promotion.

use std::sync::Arc;

use kernel::Timestamp;

use super::terms::Component;
use super::{Applied, Bound, Count, Counting, Explanation, FrozenFacts, Limit, Place, Promotion, Purchase, Refusal, Terms, Version};

/// A limit of awards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwardLimit {
    /// Its id in the version.
    pub id: Arc<str>,
    /// What is counted together.
    pub scope: LimitScope,
    /// How much is let through.
    pub limit: Limit,
    /// What would go beyond is refused, and not cut.
    pub rejects: bool,
}

/// What a limit of awards counts together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitScope {
    /// Each purchase by itself.
    Purchase,
    /// What a member gets.
    Member,
    /// What a terminal gives.
    Terminal,
    /// What a cashier gives.
    Cashier,
    /// What a store gives.
    Store,
    /// What the program gives.
    Program,
}

/// An award that limits are asked about, with what has been counted before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) points: i64,
    /// Activities have no limit for each.
    pub(super) is_purchase: bool,
    pub(super) place: Place<'a>,
    pub(super) at: Timestamp,
    /// For the member.
    pub(super) counts: &'a [Count],
    /// For all together.
    pub(super) shared: &'a [Count],
}

impl AwardLimit {
    /// What it counts an award of a place as; `None` where it counts none: it is for each purchase, or the place was not told.
    fn counts(&self, place: Place<'_>) -> Option<(Counting, Arc<str>)> {
        let id = &self.id;
        let of = |name: &str| (!name.is_empty()).then(|| (Counting::Shared, format!("limit:{id}/{name}").into()));
        match self.scope {
            LimitScope::Purchase => None,
            LimitScope::Member => Some((Counting::Member, format!("limit:{id}").into())),
            LimitScope::Program => Some((Counting::Shared, format!("limit:{id}").into())),
            LimitScope::Terminal => of(place.terminal),
            LimitScope::Cashier => of(place.cashier),
            LimitScope::Store => of(place.store),
        }
    }

    /// The points that it lets through; `None` where it is not about such an award.
    fn room(&self, version: &Version, asking: &Asking<'_>) -> Option<i64> {
        if self.scope == LimitScope::Purchase {
            return self.limit.points_max.filter(|_| asking.is_purchase);
        }
        let (by, of) = self.counts(asking.place)?;
        let counts = if by == Counting::Member { asking.counts } else { asking.shared };
        Some(self.limit.room(&of, counts, asking.at, &version.zone).unwrap_or(0))
    }
}

impl Version {
    /// The least that a limit lets through of an award, where that is not all of it. Limits that refuse are asked about what is left.
    pub(super) fn let_through(&self, asking: &Asking<'_>) -> Result<Option<Bound>, Refusal> {
        let rooms = || self.terms.limits.iter().filter_map(|limit| Some((limit, limit.room(self, asking)?)));
        let trimming = rooms().filter(|(limit, room)| !limit.rejects && *room < asking.points).min_by_key(|(_, room)| *room);
        let bound = trimming.map(|(limit, points)| Bound { limit: limit.id.clone(), points });
        let left = bound.as_ref().map_or(asking.points, |bound| bound.points);
        match rooms().find(|(limit, room)| limit.rejects && *room < left) {
            Some((limit, _)) => Err(Refusal::AwardLimit { limit: limit.id.to_string() }),
            None => Ok(bound),
        }
    }

    /// What limits count of an award of so many points; one of none is not counted.
    pub(super) fn limit_counts(&self, points: i64, place: Place<'_>, at: Timestamp) -> impl Iterator<Item = Count> {
        let counted = self.terms.limits.iter().filter(move |_| points > 0);
        counted.filter_map(move |limit| {
            let (by, of) = limit.counts(place)?;
            Some(limit.limit.count(by, of, (1, points), at, &self.zone))
        })
    }

    /// What of the points of a purchase in a wallet is limited, as it is counted; `None` is the main one, and the only one that limits of
    /// awards are about. They are worked out by what is frozen of it.
    pub(super) fn counts(
        &self,
        facts: &FrozenFacts,
        explanation: &Explanation,
        wallet: Option<&str>,
        place: Place<'_>,
        at: Timestamp,
    ) -> Vec<Count> {
        if !self.is_counted(facts) {
            return Vec::new();
        }
        let of_promotion = |(promotion, _): (&Promotion, &Applied)| {
            let part = explanation.components.iter().find(|part| part.promotion() == Some(&*promotion.id))?.clone();
            let limits = [(Counting::Member, promotion.limit), (Counting::Shared, promotion.budget)];
            Some(limits.into_iter().filter_map(move |(by, limit)| {
                let of = part.source.as_str().into();
                Some(limit?.count(by, of, (1, part.points), at, &self.zone))
            }))
        };
        let of_wallet = self.applied(facts).filter(|(promotion, _)| promotion.wallet.as_deref() == wallet);
        let limited = if wallet.is_none() { explanation.points() } else { 0 };
        of_wallet.filter_map(of_promotion).flatten().chain(self.limit_counts(limited, place, at)).collect()
    }

    /// By how much less a return leaves counted of the points of a purchase in a wallet. What stays with the member stays counted.
    pub(super) fn counts_changed(&self, before: &Purchase, after: &Purchase, wallet: Option<&str>) -> Result<Vec<Count>, Refusal> {
        if !self.is_counted(&before.facts) {
            return Ok(Vec::new());
        }
        let mut changes = self.counts_left(after, wallet)?;
        for was in self.counts_left(before, wallet)? {
            match changes.iter_mut().find(|count| count.is_like(&was)) {
                Some(count) => (count.times, count.points) = (count.times - was.times, count.points - was.points),
                None => changes.push(was.gone()),
            }
        }
        changes.retain(|count| (count.times, count.points) != (0, 0));
        Ok(changes)
    }

    /// What is counted of what is left of a purchase, and of what was to go back and stays with the member. It follows from how much that is,
    /// never from the way there.
    fn counts_left(&self, purchase: &Purchase, wallet: Option<&str>) -> Result<Vec<Count>, Refusal> {
        let mut explanation = self.points_for(&purchase.basket(), &purchase.facts)?;
        let stays = purchase.stays_in(wallet);
        if stays > 0 {
            let bought = purchase.as_bought();
            explanation = explanation.with(stays, &self.points_for(&bought.basket(), &bought.facts)?, wallet);
        }
        Ok(self.counts(&purchase.facts, &explanation, wallet, purchase.place(), purchase.occurred_at))
    }

    /// Whether anything of a purchase may be counted.
    pub(super) fn is_counted(&self, facts: &FrozenFacts) -> bool {
        !self.terms.limits.is_empty() || facts.promotions.iter().any(|applied| applied.at_most.is_some())
    }

    /// What members share of what an award at a moment may count: the periods, and nothing in them.
    pub fn shared_at<'a>(&'a self, place: Place<'a>, at: Timestamp) -> impl Iterator<Item = Count> + 'a {
        let running = self.terms.promotions.iter().filter(move |promotion| promotion.budget.is_some() && promotion.asks.is_running(at));
        self.shared_among(running, place, at)
    }

    /// The same of a purchase that was awarded, by what is frozen of it.
    pub fn shared_of<'a>(&'a self, purchase: &'a Purchase) -> impl Iterator<Item = Count> + 'a {
        let applied = self.applied(&purchase.facts).map(|(promotion, _)| promotion);
        self.shared_among(applied, purchase.place(), purchase.occurred_at)
    }

    fn shared_among<'a>(
        &'a self,
        promotions: impl Iterator<Item = &'a Promotion> + 'a,
        place: Place<'a>,
        at: Timestamp,
    ) -> impl Iterator<Item = Count> + 'a {
        let budgets = promotions.filter_map(|promotion| Some((Counting::Shared, promotion.counted_as(), promotion.budget?)));
        let limits = self.terms.limits.iter().filter_map(move |limit| {
            let (by, of) = limit.counts(place)?;
            Some((by, of, limit.limit))
        });
        let shared = budgets.chain(limits).filter(|(by, ..)| *by == Counting::Shared);
        shared.map(move |(by, of, limit)| limit.count(by, of, (0, 0), at, &self.zone))
    }
}

impl Terms {
    /// The same without what members share: for one who is looked at alone.
    pub fn of_one_member(mut self) -> Terms {
        self.limits.retain(|limit| matches!(limit.scope, LimitScope::Purchase | LimitScope::Member));
        self.promotions = self.promotions.iter().map(|promotion| Promotion { budget: None, ..promotion.clone() }).collect();
        self
    }
}

impl FrozenFacts {
    /// Freezes what a limit lets through. What is beyond is taken off the last part first, and a promotion never gets it back when
    /// something goes back.
    pub(super) fn bind(&mut self, explanation: &Explanation, bound: Bound) {
        let mut left = bound.points;
        for part in explanation.components.iter().filter(|part| part.wallet.is_none()) {
            let given = part.points.min(left);
            left -= given;
            let applied = self.promotions.iter_mut().find(|applied| part.promotion() == Some(&*applied.id));
            applied.into_iter().for_each(|applied| applied.at_most = Some(given));
        }
        self.bound = Some(bound);
    }
}

impl Explanation {
    /// Takes off what is beyond a limit, as a part of its own.
    pub(super) fn cut(mut self, bound: Option<&Bound>) -> Explanation {
        let Some(Bound { limit, points }) = bound.filter(|bound| bound.points < self.points()) else { return self };
        let less = points - self.points();
        self.components.push(Component {
            source: format!("limit:{limit}"),
            factor: None,
            points: less,
            desired: less,
            title: String::new(),
            wallet: None,
        });
        self.bonus += less;
        self
    }
}

impl Explanation {
    /// With points of a wallet that were to go back and stay: they are of the last parts of the `whole` that have gone back.
    fn with(mut self, stays: i64, whole: &Explanation, wallet: Option<&str>) -> Explanation {
        let mut left = stays;
        for part in whole.components.iter().rev().filter(|part| part.wallet.as_deref() == wallet) {
            let kept = self.components.iter().position(|kept| kept.source == part.source && kept.wallet == part.wallet);
            let kept = kept.unwrap_or_else(|| {
                self.components.push(Component { points: 0, ..part.clone() });
                self.components.len() - 1
            });
            let gone = part.points - self.components[kept].points;
            let stays = gone.clamp(0, left);
            self.components[kept].points += stays;
            left -= stays;
        }
        self.components.retain(|part| part.points != 0);
        self.bonus += if wallet.is_none() { stays } else { 0 };
        self
    }
}

impl Component {
    /// The promotion that it is of.
    pub fn promotion(&self) -> Option<&str> {
        self.source.strip_prefix("promotion:")
    }
}
