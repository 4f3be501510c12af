//! Distributions in the two text formats that tools around HdrHistogram read.
//!
//! - `.hlog`, the interval log: one compressed histogram for each tick, so that any while of any runs can be merged again;
//! - `.hgrm`, the percentile distribution that plotters take.
//!
//! ```text
//! .hlog  #[Histogram log format version 1.3]     .hgrm        Value     Percentile TotalCount 1/(1-Percentile)
//!        "StartTimestamp","Interval_Length",…                 0.058 0.000000000000          1           1.00
//!        0.000,0.100,3.141,HISTFAAA…                          0.120 0.500000000000     190334           2.00
//! ```
//!
//! Values in a log are nanoseconds; its maxima, and everything in a distribution, are milliseconds.
//!
//! Truth: `HistogramLogWriter` and `AbstractHistogram.outputPercentileDistribution` of HdrHistogram for Java.

use crate::load::timeline::Timeline;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, IntervalLogWriterBuilder, LogEntry};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use std::fmt::Write;
use std::io;
use std::time::SystemTime;

/// Nanoseconds in a millisecond.
const MS: f64 = 1e6;
/// Points of a distribution for each halving of what is left.
const POINTS_PER_HALF: u32 = 5;

/// The ticks of a run as an interval log.
pub fn log(timeline: &Timeline, what: &str, started: SystemTime) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment(what).with_start_time(started).with_base_time(started).with_max_value_divisor(MS);
    let mut log = builder.begin_log_with(&mut out, &mut serializer)?;
    for (index, tick) in (0_u32..).zip(&timeline.ticks) {
        log.write_histogram(&tick.latency, timeline.tick * index, timeline.tick, None)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(out)
}

/// All of a log's histograms together, in nanoseconds.
pub fn read_log(bytes: &[u8]) -> io::Result<Histogram<u64>> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut all = Histogram::<u64>::new(3).map_err(|error| bad(error.to_string()))?;
    let mut deserializer = Deserializer::new();
    for entry in IntervalLogIterator::new(bytes) {
        let LogEntry::Interval(interval) =
            entry.map_err(|error| bad(format!("no interval log: {error:?}")))?
        else {
            continue;
        };
        let encoded = BASE64_STANDARD.decode(interval.encoded_histogram());
        let encoded = encoded.map_err(|error| bad(format!("no histogram: {error}")))?;
        let tick: Histogram<u64> = deserializer
            .deserialize(&mut encoded.as_slice())
            .map_err(|error| bad(format!("no histogram: {error}")))?;
        all.add(&tick).map_err(|error| bad(error.to_string()))?;
    }
    Ok(all)
}

/// A percentile distribution.
pub fn distribution(histogram: &Histogram<u64>) -> String {
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    for point in histogram.iter_quantiles(POINTS_PER_HALF) {
        count += point.count_since_last_iteration();
        let value = point.value_iterated_to() as f64 / MS;
        let quantile = point.quantile_iterated_to();
        let _ = write!(out, "{value:12.3} {quantile:2.12} {count:10}");
        let _ =
            if quantile < 1.0 { writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(out) };
    }
    let (mean, deviation) = (histogram.mean() / MS, histogram.stdev() / MS);
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(
        out,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        histogram.max() as f64 / MS,
        histogram.len()
    );
    let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), 2048);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn histogram(ms: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 1 << 40, 3).expect("allowed");
        ms.iter().for_each(|ms| histogram.record(ms * 1_000_000).expect("within bounds"));
        histogram
    }

    #[test]
    fn a_distribution_is_laid_out_as_java_does() {
        let text = distribution(&histogram(&[1, 2, 2, 10]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("       2.001 0.500000000000          3           2.00")),
            "{text}"
        );
        assert!(lines.contains(&"      10.002 1.000000000000          4"), "{text}");
        assert!(text.contains("#[Max     =       10.002, Total count    =            4]"), "{text}");
    }

    #[test]
    fn a_log_read_again_is_what_was_noted() {
        let mut timeline = Timeline::new(Duration::from_millis(300), &histogram(&[]));
        for (at, latency) in [(0, 5), (150, 70), (160, 71)] {
            timeline.note(Duration::from_millis(at), 1, Duration::from_millis(latency));
        }
        let bytes = log(&timeline, "send 64x8", SystemTime::UNIX_EPOCH).expect("into memory");
        assert_eq!(read_log(&bytes).expect("a log"), timeline.all(histogram(&[])));
        assert!(read_log(b"#[Histogram log]\n1,2,3,AAAA\n").is_err());
        assert!(read_log(b"no log").is_err());
    }
}
