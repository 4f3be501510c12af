//! Whether a message is for later, where it waits, and until when. Pure.
//!
//! | property | due | waits in |
//! | --- | --- | --- |
//! | `DELAY` above 0 | store time + the level's delay; beyond the last level: the last level's | `SCHEDULE_TOPIC_XXXX`, queue level − 1 |
//! | else `TIMER_DELAY_SEC` | now + seconds | `rmq_sys_wheel_timer`, queue 0 |
//! | else `TIMER_DELAY_MS` | now + milliseconds | the same |
//! | else `TIMER_DELIVER_MS` | that moment | the same |
//!
//! A timer that is due already is an ordinary message; one beyond the horizon, or that is no number, is refused.
//!
//! Differences from Apache: a timer is due at its millisecond, not at the next full second (`timerPrecisionMs`).
//!
//! Source: `broker/.../util/HookUtils.java`, `broker/.../schedule/ScheduleMessageService.java`.

use std::fmt;

use ringmq_wire::record::properties;

use crate::broker::limits::DELAY_LEVELS_MAX;

/// The delay levels: level 1 is the first (`messageDelayLevel`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayLevels {
    ms: Vec<i64>,
}

/// Why a text names no delay levels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelayLevelsError {
    /// Nothing in it.
    #[error("it names no level")]
    Empty,
    /// A bound.
    #[error("it has more than {DELAY_LEVELS_MAX} levels")]
    TooMany,
    /// A word that is no time.
    #[error("{0} is not a whole number with one of the units s, m, h and d")]
    NotATime(String),
}

impl DelayLevels {
    /// Reads them as Apache's configuration writes them: `1s 5s 10s 30s 1m …`.
    pub fn parse(text: &str) -> Result<DelayLevels, DelayLevelsError> {
        let ms: Result<Vec<i64>, DelayLevelsError> = text
            .split_whitespace()
            .map(|word| level_ms(word).ok_or_else(|| DelayLevelsError::NotATime(word.to_owned())))
            .collect();
        match ms? {
            ms if ms.is_empty() => Err(DelayLevelsError::Empty),
            ms if ms.len() > DELAY_LEVELS_MAX => Err(DelayLevelsError::TooMany),
            ms => Ok(DelayLevels { ms }),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ms.len()
    }

    /// The level that counts instead of one above 0, and its delay in milliseconds.
    fn clamped(&self, level: i32) -> (u8, i64) {
        let level = usize::try_from(level).unwrap_or(1).clamp(1, self.ms.len());
        (u8::try_from(level).expect("DELAY_LEVELS_MAX is a byte"), self.ms[level - 1])
    }
}

/// As [`DelayLevels::parse`] reads it.
impl fmt::Display for DelayLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.ms.iter().map(|ms| {
            let (unit, size) =
                UNITS_MS.into_iter().find(|(_, size)| *ms > 0 && ms % size == 0).unwrap_or(("s", 1_000));
            format!("{}{unit}", ms / size)
        });
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

/// Apache's.
impl Default for DelayLevels {
    fn default() -> DelayLevels {
        DelayLevels::parse("1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h")
            .expect("they are well-formed")
    }
}

/// The largest first.
const UNITS_MS: [(&str, i64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

fn level_ms(word: &str) -> Option<i64> {
    let (number, unit_ms) =
        UNITS_MS.into_iter().find_map(|(unit, ms)| Some((word.strip_suffix(unit)?, ms)))?;
    Some(i64::from(number.parse::<u32>().ok()?) * unit_ms)
}

/// What a message's properties say about when it is to be delivered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `DELAY`, if it is above 0.
    pub level: Option<i32>,
    /// `TIMER_DELAY_SEC`.
    pub delay_sec: Option<&'a str>,
    /// `TIMER_DELAY_MS`.
    pub delay_ms: Option<&'a str>,
    /// `TIMER_DELIVER_MS`.
    pub deliver_ms: Option<&'a str>,
    /// `TIMER_OUT_MS`: it has waited.
    pub has_waited: bool,
}

impl<'a> Asked<'a> {
    /// Notes one property; says whether it is one of these.
    pub fn note(&mut self, name: &str, value: &'a str) {
        match name {
            properties::DELAY => self.level = value.parse().ok().filter(|level| *level > 0),
            properties::TIMER_DELAY_SEC => self.delay_sec = Some(value),
            properties::TIMER_DELAY_MS => self.delay_ms = Some(value),
            properties::TIMER_DELIVER_MS => self.deliver_ms = Some(value),
            properties::TIMER_OUT_MS => self.has_waited = true,
            _ => {}
        }
    }

    /// Of a whole properties string.
    pub fn of(encoded: &'a [u8]) -> Asked<'a> {
        let mut asked = Asked::default();
        properties::iter(encoded).for_each(|(name, value)| asked.note(name, value));
        asked
    }

    /// The property that asks for later delivery, if one does.
    pub fn property(&self) -> Option<&'static str> {
        let timer = [
            (self.delay_sec, properties::TIMER_DELAY_SEC),
            (self.delay_ms, properties::TIMER_DELAY_MS),
            (self.deliver_ms, properties::TIMER_DELIVER_MS),
        ];
        match self.level {
            Some(_) => Some(properties::DELAY),
            None => timer.into_iter().find_map(|(value, name)| value.map(|_| name)),
        }
    }
}

/// Until when a message waits, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Milliseconds since 1970.
    pub due_ms: i64,
    /// Its delay level; 0: it is a timer.
    pub level: u8,
}

/// Why a message cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitError {
    /// A timer's time that is no number.
    NotATime,
    /// Further away than timers may be.
    BeyondHorizon,
}

/// What the operator chose about waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The delay levels.
    pub levels: DelayLevels,
    /// Timers that are due later than so many milliseconds from now are refused (`timerMaxDelaySec`).
    pub horizon_ms: i64,
    /// Timers may be recalled (`recallMessageEnable`).
    pub recall: bool,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { levels: DelayLevels::default(), horizon_ms: 3 * 86_400_000, recall: true }
    }
}

impl Waits {
    /// Whether a message waits, and until when. `now_ms`: the store timestamp that it gets.
    pub fn decide(&self, asked: &Asked<'_>, now_ms: i64) -> Result<Option<Wait>, WaitError> {
        if let Some(level) = asked.level {
            let (level, delay_ms) = self.levels.clamped(level);
            return Ok(Some(Wait { due_ms: now_ms.saturating_add(delay_ms), level }));
        }
        if asked.has_waited {
            return Ok(None);
        }
        let number = |text: &str| text.parse::<i64>().map_err(|_| WaitError::NotATime);
        let due_ms = match (asked.delay_sec, asked.delay_ms, asked.deliver_ms) {
            (Some(seconds), _, _) => now_ms.saturating_add(number(seconds)?.saturating_mul(1_000)),
            (None, Some(ms), _) => now_ms.saturating_add(number(ms)?),
            (None, None, Some(moment)) => number(moment)?,
            (None, None, None) => return Ok(None),
        };
        if due_ms <= now_ms {
            return Ok(None);
        }
        if due_ms - now_ms > self.horizon_ms {
            return Err(WaitError::BeyondHorizon);
        }
        Ok(Some(Wait { due_ms, level: 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn levels_are_read_as_apache_writes_them() {
        let levels = DelayLevels::default();
        assert_eq!(
            (levels.count(), levels.clamped(1), levels.clamped(18)),
            (18, (1, 1_000), (18, 7_200_000))
        );
        assert_eq!((levels.clamped(19), levels.clamped(i32::MAX)), (levels.clamped(18), levels.clamped(18)));
        assert_eq!(DelayLevels::parse(" 2d  0s ").map(|levels| levels.ms), Ok(vec![172_800_000, 0]));
        for text in ["1s 5s 10s 30s 1m 2m 20m 1h 2h 1d", "0s", "90s", "61s 25h"] {
            let levels = DelayLevels::parse(text).expect(text);
            assert_eq!(DelayLevels::parse(&levels.to_string()), Ok(levels), "{text}");
        }
        assert_eq!(levels.to_string(), "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h");
        for (text, why) in [
            ("", "it names no level"),
            ("1s 5", "5 is not a whole number with one of the units s, m, h and d"),
            ("1s -5s", "-5s is not a whole number with one of the units s, m, h and d"),
            ("1x", "1x is not a whole number with one of the units s, m, h and d"),
            ("中", "中 is not a whole number with one of the units s, m, h and d"),
        ] {
            assert_eq!(DelayLevels::parse(text).expect_err(text).to_string(), why);
        }
        assert_eq!(DelayLevels::parse(&"1s ".repeat(DELAY_LEVELS_MAX + 1)), Err(DelayLevelsError::TooMany));
    }

    #[test]
    fn what_a_message_asks_for_decides_until_when_it_waits() {
        let deliver = |ms: i64| format!("TIMER_DELIVER_MS\u{1}{}\u{2}", NOW + ms);
        let wait = |ms: i64, level: u8| Ok(Some(Wait { due_ms: NOW + ms, level }));
        #[rustfmt::skip]
        let rows: &[(&str, Result<Option<Wait>, WaitError>)] = &[
            ("",                                                         Ok(None)),
            ("DELAY\u{1}0\u{2}",                                         Ok(None)),
            ("DELAY\u{1}-3\u{2}",                                        Ok(None)),
            ("DELAY\u{1}three\u{2}",                                     Ok(None)),
            ("DELAY\u{1}3\u{2}",                                         wait(10_000, 3)),
            ("DELAY\u{1}99\u{2}",                                        wait(7_200_000, 18)),
            ("DELAY\u{1}1\u{2}TIMER_DELAY_SEC\u{1}9\u{2}",               wait(1_000, 1)),
            ("DELAY\u{1}0\u{2}TIMER_DELAY_SEC\u{1}9\u{2}",               wait(9_000, 0)),
            ("TIMER_DELAY_MS\u{1}7\u{2}",                                wait(7, 0)),
            ("TIMER_DELAY_MS\u{1}7\u{2}TIMER_DELAY_SEC\u{1}9\u{2}",      wait(9_000, 0)),
            ("TIMER_DELIVER_MS\u{1}5\u{2}TIMER_DELAY_MS\u{1}7\u{2}",     wait(7, 0)),
            (&deliver(1),                                                wait(1, 0)),
            (&deliver(0),                                                Ok(None)),
            (&deliver(-1),                                               Ok(None)),
            (&deliver(259_200_000),                                      wait(259_200_000, 0)),
            (&deliver(259_200_001),                                      Err(WaitError::BeyondHorizon)),
            ("TIMER_DELIVER_MS\u{1}9223372036854775807\u{2}",            Err(WaitError::BeyondHorizon)),
            ("TIMER_DELAY_SEC\u{1}9223372036854775807\u{2}",             Err(WaitError::BeyondHorizon)),
            ("TIMER_DELAY_SEC\u{1}-9223372036854775807\u{2}",            Ok(None)),
            ("TIMER_DELAY_SEC\u{1}9223372036854775808\u{2}",             Err(WaitError::NotATime)),
            ("TIMER_DELIVER_MS\u{1}soon\u{2}",                           Err(WaitError::NotATime)),
            ("TIMER_OUT_MS\u{1}1\u{2}TIMER_DELAY_MS\u{1}7\u{2}",         Ok(None)),
            ("TIMER_OUT_MS\u{1}1\u{2}DELAY\u{1}1\u{2}",                  wait(1_000, 1)),
        ];
        for (given, expected) in rows {
            let asked = Asked::of(given.as_bytes());
            assert_eq!(Waits::default().decide(&asked, NOW), *expected, "{given:?}");
        }
    }

    #[test]
    fn the_property_that_asks_is_named() {
        for (given, expected) in [
            ("", None),
            ("DELAY\u{1}0\u{2}", None),
            ("DELAY\u{1}2\u{2}TIMER_DELAY_MS\u{1}7\u{2}", Some("DELAY")),
            ("TIMER_DELAY_MS\u{1}7\u{2}", Some("TIMER_DELAY_MS")),
            ("TIMER_DELIVER_MS\u{1}7\u{2}", Some("TIMER_DELIVER_MS")),
            ("TIMER_DELAY_SEC\u{1}7\u{2}", Some("TIMER_DELAY_SEC")),
        ] {
            assert_eq!(Asked::of(given.as_bytes()).property(), expected, "{given:?}");
        }
    }
}
