//! A bar: a number that a run must reach, or must not pass.

use serde::Serialize;

/// On which side of the bar it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Good at or above it.
    AtLeast,
    /// Good at or below it.
    AtMost,
}

impl Bound {
    /// Whether a number is on the good side of what is demanded.
    pub fn admits(self, demanded: f64, measured: f64) -> bool {
        match self {
            Bound::AtLeast => measured >= demanded,
            Bound::AtMost => measured <= demanded,
        }
    }

    /// As people write it.
    pub fn sign(self) -> &'static str {
        match self {
            Bound::AtLeast => "≥",
            Bound::AtMost => "≤",
        }
    }
}

/// What is demanded of a number, and the number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bar {
    /// Of what.
    pub name: String,
    /// Which side is good.
    pub bound: Bound,
    /// The demand.
    pub demanded: f64,
    /// What was measured; none counts as missed.
    pub measured: Option<f64>,
    /// Of both.
    pub unit: &'static str,
    is_cleared: bool,
}

impl Bar {
    /// `measured` must reach `demanded`.
    pub fn at_least(
        name: impl Into<String>,
        demanded: f64,
        measured: Option<f64>,
        unit: &'static str,
    ) -> Bar {
        Bar::new(name.into(), Bound::AtLeast, demanded, measured, unit)
    }

    /// `measured` must not pass `demanded`.
    pub fn at_most(name: impl Into<String>, demanded: f64, measured: Option<f64>, unit: &'static str) -> Bar {
        Bar::new(name.into(), Bound::AtMost, demanded, measured, unit)
    }

    fn new(name: String, bound: Bound, demanded: f64, measured: Option<f64>, unit: &'static str) -> Bar {
        let is_cleared = measured.is_some_and(|measured| bound.admits(demanded, measured));
        Bar { name, bound, demanded, measured, unit, is_cleared }
    }

    /// Whether the demand is met.
    pub fn is_cleared(&self) -> bool {
        self.is_cleared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_cleared_on_its_good_side_and_by_a_number_only() {
        assert!(Bar::at_least("rate", 10.0, Some(10.0), "/s").is_cleared());
        assert!(!Bar::at_least("rate", 10.0, Some(9.9), "/s").is_cleared());
        assert!(Bar::at_most("time", 10.0, Some(10.0), "s").is_cleared());
        assert!(!Bar::at_most("time", 10.0, Some(10.1), "s").is_cleared());
        assert!(!Bar::at_most("time", 10.0, None, "s").is_cleared());
    }
}
