//! What a measurement came to.

use std::time::Duration;

use anyhow::ensure;

/// Parts that the time of a measurement is cut into, or rounds that it is made of.
pub(crate) const PARTS: u32 = 3;

/// One call: when it was answered, on any clock, and how long that took; microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) done: u64,
    pub(crate) took: u64,
}

/// CPU time and commits that a call cost.
#[derive(Default)]
pub(crate) struct Cost {
    /// Microseconds of CPU per call, by process.
    pub(crate) micros: Vec<(&'static str, f64)>,
    /// Calls per commit of a transaction that wrote.
    pub(crate) calls_per_commit: Option<f64>,
}

impl Cost {
    /// Microseconds of CPU that a process spent on a call; 0 when it was not measured.
    pub(crate) fn of(&self, process: &str) -> f64 {
        self.micros.iter().find(|(name, _)| *name == process).map_or(0.0, |(_, micros)| *micros)
    }
}

/// The calls of a measurement.
pub(crate) struct Sample {
    /// Calls a second in each part, ascending.
    rates: Vec<f64>,
    /// How long they took, ascending.
    micros: Vec<u64>,
    /// Seconds that it took in all.
    seconds: f64,
    pub(crate) cost: Cost,
}

impl Sample {
    /// The calls that were answered in a span, which is cut into parts of the same length.
    pub(crate) fn of(timings: &[Timing], from: u64, until: u64) -> anyhow::Result<Sample> {
        ensure!(from < until, "nothing was measured: the calls ended before the measurement began");
        // Rounded up, so that the last call lies in the last part.
        let part = (until - from).div_ceil(u64::from(PARTS));
        let mut counts = [0_u64; PARTS as usize];
        let mut micros = Vec::new();
        for timing in timings.iter().filter(|timing| (from..until).contains(&timing.done)) {
            counts[usize::try_from((timing.done - from) / part)?] += 1;
            micros.push(timing.took);
        }
        ensure!(!micros.is_empty(), "no call was answered in the time of the measurement");
        micros.sort_unstable();
        let mut rates: Vec<f64> = counts.iter().map(|count| *count as f64 * 1e6 / part as f64).collect();
        rates.sort_by(f64::total_cmp);
        let seconds = (until - from) as f64 / 1e6;
        Ok(Sample { rates, micros, seconds, cost: Cost::default() })
    }

    /// Rounds of the same measurement as one.
    pub(crate) fn of_rounds(rounds: Vec<Sample>) -> Sample {
        let mut rates: Vec<f64> = rounds.iter().map(Sample::mean_rate).collect();
        rates.sort_by(f64::total_cmp);
        let seconds = rounds.iter().map(|round| round.seconds).sum();
        let mut micros: Vec<u64> = rounds.into_iter().flat_map(|round| round.micros).collect();
        micros.sort_unstable();
        Sample { rates, micros, seconds, cost: Cost::default() }
    }

    /// Calls a second: the median of the parts.
    pub(crate) fn rate(&self) -> f64 {
        self.rates.get(self.rates.len() / 2).copied().unwrap_or(0.0)
    }

    /// Calls a second over the whole time: by it costs are divided, which are measured over the whole time too.
    pub(crate) fn mean_rate(&self) -> f64 {
        self.micros.len() as f64 / self.seconds
    }

    /// The slowest and the fastest part.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let at = |rate: Option<&f64>| rate.copied().unwrap_or(0.0);
        (at(self.rates.first()), at(self.rates.last()))
    }

    /// Milliseconds within which so many percent of the calls were answered.
    pub(crate) fn ms(&self, percent: usize) -> f64 {
        let index = (self.micros.len() * percent).div_ceil(100).max(1) - 1;
        self.micros.get(index).map_or(0.0, |micros| *micros as f64 / 1000.0)
    }
}

/// Whole microseconds.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("no measurement takes half a million years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_cut_into_parts_and_leaves_out_what_lies_outside() {
        let done = [5, 10, 11, 20, 30, 31, 32, 39, 40];
        let timings: Vec<Timing> = done.iter().map(|&done| Timing { done, took: done * 1000 }).collect();
        let sample = Sample::of(&timings, 10, 40).unwrap();
        assert_eq!(sample.micros, [10_000, 11_000, 20_000, 30_000, 31_000, 32_000, 39_000]);
        assert_eq!(sample.rate(), 2.0 * 1e6 / 10.0);
        assert_eq!(sample.spread(), (1e6 / 10.0, 4.0 * 1e6 / 10.0));
        assert!((sample.mean_rate() - 7.0 * 1e6 / 30.0).abs() < 1e-3);
        assert_eq!((sample.ms(50), sample.ms(99), sample.ms(100)), (30.0, 39.0, 39.0));
        assert!(Sample::of(&timings, 41, 80).is_err());
        assert!(Sample::of(&timings, 80, 41).is_err());
    }

    #[test]
    fn rounds_give_the_rate_of_the_one_in_the_middle() {
        let round = |took| Sample::of(&[Timing { done: 0, took }, Timing { done: 1, took }, Timing { done: 2, took }], 0, took).unwrap();
        let sample = Sample::of_rounds(vec![round(3), round(9), round(6)]);
        assert_eq!(sample.rates.len(), 3);
        assert_eq!(sample.ms(100), 0.009);
        assert_eq!(sample.spread().1, 1e6);
    }
}
