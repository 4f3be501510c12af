//! How late waiting messages were delivered, as a histogram. Pure.

/// Upper ends of the classes, in milliseconds; the last class has none.
pub const CLASSES_MS: [u64; 9] = [5, 10, 20, 50, 100, 200, 1_000, 10_000, 60_000];

/// Counts since the start. One per shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lateness {
    counts: [u64; CLASSES_MS.len() + 1],
}

impl Lateness {
    /// A message was accepted into its queue so many milliseconds after its time.
    pub fn note(&mut self, late_ms: i64) {
        let late_ms = u64::try_from(late_ms).unwrap_or(0);
        self.counts[CLASSES_MS.partition_point(|end| *end < late_ms)] += 1;
    }

    /// All delivered.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// As one line: how many were at most so late, class by class, and how many were later.
    pub fn line(&self) -> String {
        let mut words: Vec<String> =
            CLASSES_MS.iter().zip(&self.counts).map(|(end, count)| format!("<={end}ms:{count}")).collect();
        words.push(format!("later:{}", self.counts[CLASSES_MS.len()]));
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_in_the_class_that_it_just_fits() {
        let mut lateness = Lateness::default();
        [-3, 0, 5, 6, 10, 50, 51, 60_000, 60_001, i64::MAX].into_iter().for_each(|ms| lateness.note(ms));
        let line = "<=5ms:3 <=10ms:2 <=20ms:0 <=50ms:1 <=100ms:1 <=200ms:0 <=1000ms:0 <=10000ms:0 <=60000ms:1 later:2";
        assert_eq!((lateness.count(), lateness.line()), (10, line.to_owned()));
    }
}
