//! How many times one server's number is the other's, over rounds taken in turn. Pure.
//!
//! Each round of A has the round of B that was measured next to it as its partner, so what the machine did in that while it
//! did to both. The ratio is the median of the partners' ratios. Its interval is a bootstrap: of a thousand and more draws
//! of as many pairs, with repetition, the medians' 2.5th and 97.5th percentiles.
//!
//! Invariants
//!  1. The same pairs give the same interval: draws come from a fixed seed.
//!  2. low ≤ median ≤ high.

use super::Bound;
use serde::Serialize;

/// Draws of a bootstrap.
const DRAWS: usize = 10_000;
/// Of the draws' medians, so many lie below the interval, and as many above.
const OUTSIDE: f64 = 0.025;

/// One number of two servers under one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// Which load.
    pub load: String,
    /// Which number.
    pub metric: String,
    /// The server above the line.
    pub a: String,
    /// The server below the line.
    pub b: String,
    /// Median of A's rounds.
    pub a_median: f64,
    /// Median of B's rounds.
    pub b_median: f64,
    /// A to B: the median of the rounds' ratios.
    pub median: f64,
    /// Lower end of the 95 % interval of that median.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Rounds of each.
    pub rounds: usize,
    /// What was demanded of the median, if anything.
    pub demanded: Option<String>,
    /// Whether the demand is met.
    pub is_cleared: Option<bool>,
}

/// What is demanded of a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// On which side it is good.
    pub bound: Bound,
    /// The ratio.
    pub ratio: f64,
}

impl Ratio {
    /// Of one load's pairs of numbers, A's and B's; `None` without a pair whose numbers can be divided.
    pub fn of(load: &str, metric: &str, servers: [&str; 2], pairs: &[(f64, f64)]) -> Option<Ratio> {
        let pairs: Vec<(f64, f64)> =
            pairs.iter().copied().filter(|(a, b)| a.is_finite() && *b > 0.0).collect();
        let ratios: Vec<f64> = pairs.iter().map(|(a, b)| a / b).collect();
        let median_ratio = median(ratios.clone())?;
        let (low, high) = interval(&ratios)?;
        Some(Ratio {
            load: load.to_owned(),
            metric: metric.to_owned(),
            a: servers[0].to_owned(),
            b: servers[1].to_owned(),
            a_median: median(pairs.iter().map(|pair| pair.0).collect())?,
            b_median: median(pairs.iter().map(|pair| pair.1).collect())?,
            median: median_ratio,
            low,
            high,
            rounds: pairs.len(),
            demanded: None,
            is_cleared: None,
        })
    }

    /// The same with a demand on its median.
    pub fn demanding(mut self, demand: Demand) -> Ratio {
        let sign = demand.bound.sign();
        self.demanded = Some(format!("{sign} {}", demand.ratio));
        self.is_cleared = Some(demand.bound.admits(demand.ratio, self.median));
        self
    }
}

/// The middle of some numbers; between the two in the middle.
pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let upper = *numbers.get(numbers.len() / 2)?;
    let lower = numbers[(numbers.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

fn interval(ratios: &[f64]) -> Option<(f64, f64)> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % bound.max(1)
    };
    let draw = |_| median(ratios.iter().map(|_| ratios[below(ratios.len())]).collect());
    let mut medians: Vec<f64> = (0..DRAWS).map_while(draw).collect();
    medians.sort_by(f64::total_cmp);
    let last = medians.len().checked_sub(1)?;
    let at = |share: f64| medians[(last as f64 * share).round() as usize];
    Some((at(OUTSIDE), at(1.0 - OUTSIDE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(pairs: &[(f64, f64)]) -> Option<Ratio> {
        Ratio::of("send", "messages/s", ["a", "b"], pairs)
    }

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        for (numbers, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0], Some(2.5)),
        ] {
            assert_eq!(median(numbers), expected);
        }
    }

    #[test]
    fn partners_are_divided_before_anything_is_averaged() {
        // Both get five times slower in the last two rounds, which the ratio does not see.
        let found =
            ratio(&[(100.0, 10.0), (110.0, 10.0), (90.0, 10.0), (20.0, 2.0), (22.0, 2.0)]).expect("pairs");
        assert_eq!((found.median, found.a_median, found.b_median), (10.0, 90.0, 10.0));
        assert!(found.low >= 9.0 && found.low <= 10.0 && found.high <= 11.0, "{found:?}");
    }

    #[test]
    fn an_interval_is_as_wide_as_the_rounds_differ_and_the_same_each_time() {
        let even = ratio(&[(2.0, 1.0); 7]).expect("pairs");
        assert_eq!((even.low, even.median, even.high), (2.0, 2.0, 2.0));
        let wild: Vec<(f64, f64)> = [1.0, 2.0, 3.0, 4.0, 5.0].map(|a| (a, 1.0)).to_vec();
        let (first, again) = (ratio(&wild).expect("pairs"), ratio(&wild).expect("pairs"));
        assert_eq!(first, again);
        assert_eq!(
            (first.low, first.median, first.high),
            (1.0, 3.0, 5.0),
            "of five rounds, nearly all is possible"
        );
    }

    #[test]
    fn what_cannot_be_divided_is_no_pair() {
        assert_eq!(ratio(&[]), None);
        assert_eq!(ratio(&[(1.0, 0.0), (f64::NAN, 1.0)]), None);
        assert_eq!(
            ratio(&[(1.0, 0.0), (3.0, 1.0)]).map(|found| (found.median, found.rounds)),
            Some((3.0, 1))
        );
    }

    #[test]
    fn a_demand_is_on_the_median() {
        let found = ratio(&[(12.0, 1.0); 5]).expect("pairs");
        for (bound, demanded, cleared) in
            [(Bound::AtLeast, 12.0, true), (Bound::AtLeast, 12.5, false), (Bound::AtMost, 12.5, true)]
        {
            let demand = Demand { bound, ratio: demanded };
            assert_eq!(found.clone().demanding(demand).is_cleared, Some(cleared), "{demand:?}");
        }
    }
}
