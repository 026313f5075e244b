//! What terms name that is kept elsewhere.

use super::{Challenge, Counts, Gift, Shape, Step, Terms};

impl Terms {
    /// The rewards that they give, by the fields that name them.
    pub fn rewards_given<'a>(&'a self) -> impl Iterator<Item = (String, &'a str)> {
        let of_challenge = |(index, challenge): (usize, &'a Challenge)| -> Vec<(String, &'a Gift)> {
            let within = format!("challenges[{index}]");
            match &challenge.shape {
                Shape::Ladder { steps, .. } => {
                    steps.iter().enumerate().map(|(step, Step { gives, .. })| (format!("{within}.ladder.steps[{step}]"), gives)).collect()
                }
                Shape::Streak(streak) => vec![(format!("{within}.streak"), &streak.gives)],
            }
        };
        let occasions = self.occasions.iter().enumerate();
        let of_occasions = occasions.map(|(index, occasion)| (format!("occasions[{index}]"), &occasion.gives));
        self.challenges.iter().enumerate().flat_map(of_challenge).chain(of_occasions).filter_map(|(field, gift)| match gift {
            Gift::Reward(reward) => Some((format!("{field}.gives.reward"), &**reward)),
            Gift::Points(..) => None,
        })
    }

    /// The stores that they are for, programs/{program}/stores/{store}, by the fields that name them.
    pub fn stores_named(&self) -> impl Iterator<Item = (String, &str)> {
        let rates = self.earn_rates.iter().enumerate().map(|(index, rate)| (format!("earn_rates[{index}]"), &rate.stores));
        let promotions = self.promotions.iter().enumerate();
        let promotions = promotions.map(|(index, promotion)| (format!("promotions[{index}]"), &promotion.asks.stores));
        let challenges = self.challenges.iter().enumerate().filter_map(|(index, challenge)| match &challenge.counts {
            Counts::Purchases(qualifying) => Some((format!("challenges[{index}].purchases"), &qualifying.asks.stores)),
            Counts::Activity(_) => None,
        });
        rates.chain(promotions).chain(challenges).flat_map(|(field, stores)| {
            stores.iter().enumerate().map(move |(index, store)| (format!("{field}.stores[{index}]"), store.as_str()))
        })
    }
}
