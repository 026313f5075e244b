/// Fewer responses than this carry the flag of a low sample.
pub const LOW_SAMPLE_BELOW: i64 = 30;
/// From this many responses on figures are shown; with fewer, one could read off who answered what.
pub const VISIBLE_FROM: i64 = 10;

/// Both tails of 5 % of a normal distribution, in standard errors.
const Z_95: f64 = 1.959_963_984_540_054;

/// Responses to an NPS survey by class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Scores 9 and 10.
    pub promoters: i64,
    /// Scores 7 and 8.
    pub passives: i64,
    /// Scores 0 to 6.
    pub detractors: i64,
}

/// An interval of net promoter scores.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interval {
    /// The lower end, −100 to 100.
    pub low: f64,
    /// The upper end, −100 to 100.
    pub high: f64,
}

impl Tally {
    /// Adds up how often each score was given. Scores outside 0 to 10 are never stored.
    pub fn of(counts: impl IntoIterator<Item = (i64, i64)>) -> Tally {
        counts.into_iter().fold(Tally::default(), |tally, (score, count)| match score {
            ..=6 => Tally { detractors: tally.detractors + count, ..tally },
            7..=8 => Tally { passives: tally.passives + count, ..tally },
            9.. => Tally { promoters: tally.promoters + count, ..tally },
        })
    }

    /// All responses.
    pub fn total(&self) -> i64 {
        self.promoters + self.passives + self.detractors
    }

    /// The net promoter score, −100 to 100; none without responses.
    pub fn nps(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| 100.0 * (self.promoters - self.detractors) as f64 / total as f64)
    }

    /// The 95 % adjusted Wald interval: three responses are added, ¾ of one to promoters and detractors each, so that it has
    /// a width also when all answered alike. None without responses.
    pub fn interval(&self) -> Option<Interval> {
        if self.total() == 0 {
            return None;
        }
        let total = self.total() as f64 + 3.0;
        let promoters = (self.promoters as f64 + 0.75) / total;
        let detractors = (self.detractors as f64 + 0.75) / total;
        let centre = promoters - detractors;
        let variance = promoters + detractors - centre * centre;
        let margin = Z_95 * (variance / total).sqrt();
        let percent = |share: f64| (100.0 * share).clamp(-100.0, 100.0);
        Some(Interval { low: percent(centre - margin), high: percent(centre + margin) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Expected figures come from an independent computation (the score taken as a variable of −1, 0 and 1 over the padded
    /// sample, its mean and population deviation), to four places.
    #[test]
    fn worked_examples() {
        for (detractors, passives, promoters, nps, low, high) in [
            (43, 32, 25, -18.0, -32.9762, -1.9752),
            (0, 0, 10, 100.0, 47.5036, 100.0),
            (10, 0, 0, -100.0, -100.0, -47.5036),
            (0, 10, 0, 0.0, -18.4650, 18.4650),
            (0, 0, 1, 100.0, -48.4986, 98.4986),
            (1, 0, 99, 98.0, 89.6776, 100.0),
            (2, 1, 7, 50.0, -5.6925, 82.6156),
            (120, 340, 540, 42.0, 37.5681, 46.1806),
        ] {
            let tally = Tally { promoters, passives, detractors };
            let interval = tally.interval().unwrap();
            assert_eq!(tally.nps(), Some(nps), "{tally:?}");
            assert!((interval.low - low).abs() < 5e-5 && (interval.high - high).abs() < 5e-5, "{tally:?}: {interval:?}");
        }
    }

    #[test]
    fn each_score_has_its_class() {
        let classes: Vec<_> = (0..=10).map(|score| Tally::of([(score, 1)])).collect();
        let class = |promoters, passives, detractors| Tally { promoters, passives, detractors };
        assert_eq!(classes[..7], [class(0, 0, 1); 7]);
        assert_eq!(classes[7..9], [class(0, 1, 0); 2]);
        assert_eq!(classes[9..], [class(1, 0, 0); 2]);
        assert_eq!(Tally::of([(3, 40), (0, 3), (7, 32), (9, 5), (10, 20)]), class(25, 32, 43));
    }

    #[test]
    fn without_responses_there_is_no_figure() {
        assert_eq!(Tally::default().nps(), None);
        assert_eq!(Tally::default().interval(), None);
    }

    proptest! {
        #[test]
        fn figures_stay_in_bounds(promoters in 0_i64..1_000_000, passives in 0_i64..1_000_000, detractors in 0_i64..1_000_000) {
            let tally = Tally { promoters, passives, detractors };
            prop_assume!(tally.total() > 0);
            let (nps, interval) = (tally.nps().unwrap(), tally.interval().unwrap());
            prop_assert!((-100.0..=100.0).contains(&nps));
            prop_assert!(-100.0 <= interval.low && interval.low < interval.high && interval.high <= 100.0);
            // The mirror image of the answers has the mirror image of the figures.
            let mirror = Tally { promoters: detractors, passives, detractors: promoters }.interval().unwrap();
            prop_assert!((mirror.low + interval.high).abs() < 1e-9);
            // From ten responses on (fewer are hidden) the score lies in its interval.
            prop_assert!(tally.total() < VISIBLE_FROM || (interval.low <= nps && nps <= interval.high));
        }
    }
}
