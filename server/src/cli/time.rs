//! Times as people write and read them, in UTC: `2026-11-24T15:00:00.123Z`.
//!
//! The calendar's arithmetic is Howard Hinnant's `civil_from_days` and `days_from_civil`: proleptic Gregorian, in eras of
//! 400 years. Pure; whoever needs the present passes it in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECS: i64 = 86_400;
/// Days from the start of 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// What is accepted, for errors.
pub const EXPECTED: &str =
    "a time such as 2026-11-24T15:00:00Z, milliseconds since 1970, or -10m for ten minutes ago (s, m, h, d)";

/// A time in UTC, to the millisecond; the zero of the protocol is shown by its caller.
pub fn show(time: SystemTime) -> String {
    let ms = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let (secs, ms) = (ms / 1000, ms % 1000);
    let (days, of_day) = (secs.div_euclid(DAY_SECS), secs.rem_euclid(DAY_SECS));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Reads a time; `now` is what "ago" refers to.
pub fn parse(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let text = text.trim();
    let wrong = || format!("{text:?} is not {EXPECTED}");
    if let Some(ago) = text.strip_prefix('-') {
        let ago = <Duration as crate::config::value::Setting>::parse(ago).map_err(|_| wrong())?;
        return now.checked_sub(ago).ok_or_else(wrong);
    }
    if let Ok(ms) = text.parse::<u64>() {
        return UNIX_EPOCH.checked_add(Duration::from_millis(ms)).ok_or_else(wrong);
    }
    calendar(text).ok_or_else(wrong)
}

/// `2026-11-24`, then optionally `T` or a blank and `15:00`, `15:00:00` or `15:00:00.123`, then optionally `Z`.
fn calendar(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(digits);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next().unwrap_or(Some(0))?);
    let ms = digits(&format!("{fraction:0<3}")[..3])?;
    let known = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !known || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    // A day that its month does not have lands in the next one.
    if civil(days) != (year, month, day) {
        return None;
    }
    let secs = days * DAY_SECS + hour * 3600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::from_secs(secs.try_into().ok()?) + Duration::from_millis(ms.try_into().ok()?))
}

fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day counted from 1970-01-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn times_are_shown_and_read_back() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ];
        for (ms, text) in rows {
            assert_eq!(show(at(ms)), text);
            assert_eq!(parse(text, at(0)), Ok(at(ms)));
        }
        for days in (0..60_000).step_by(7) {
            let shown = show(at(days * 86_400_000));
            assert_eq!(parse(&shown, at(0)), Ok(at(days * 86_400_000)), "{shown}");
        }
    }

    #[test]
    fn times_are_written_in_several_ways() {
        let now = at(1_700_000_000_000);
        for (text, ms) in [
            ("2023-11-14", 1_699_920_000_000),
            ("2023-11-14 22:13", 1_699_999_980_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T22:13:20.5", 1_700_000_000_500),
            ("1700000000123", 1_700_000_000_123),
            ("-10m", 1_699_999_400_000),
            ("-1d", 1_699_913_600_000),
        ] {
            assert_eq!(parse(text, now), Ok(at(ms)), "{text}");
        }
        let wrong = [
            "",
            "yesterday",
            "2023-02-29",
            "2023-13-01",
            "2023-11-14T24:00",
            "-10",
            "2023-11",
            "T",
            "1é-1-1",
            "-é",
        ];
        for text in wrong {
            let error = parse(text, now).unwrap_err();
            assert!(error.contains(EXPECTED), "{text:?}: {error}");
        }
    }
}
