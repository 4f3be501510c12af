//! How the values of settings are spelled: parsed from text, shown as TOML.
//!
//! The text is the same in the file, the environment and `--set`. Sizes and times carry their unit, so
//! that a number never means something else than its writer thought. Errors say what to type.

use std::path::PathBuf;
use std::time::Duration;

use crate::broker::waiting::rule::DelayLevels;

/// A type that a setting can have.
pub trait Setting: Sized {
    /// What a value looks like, for errors: `a size such as 256MiB`.
    const EXPECTED: &'static str;
    /// Reads it; the error says what is wrong, without repeating the value.
    fn parse(text: &str) -> Result<Self, String>;
    /// Shows it as a TOML value that [`Setting::parse`] takes back.
    fn toml(&self) -> String;
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&'static str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

    /// As a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Display for ByteSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, bytes) = ByteSize::UNITS
            .into_iter()
            .find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl Setting for ByteSize {
    const EXPECTED: &'static str = "a size such as 256MiB (B, KiB, MiB or GiB)";

    fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = number_and_unit(text)?;
        if unit.is_empty() {
            return Ok(ByteSize(number));
        }
        let bytes = ByteSize::UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let (_, bytes) = bytes.ok_or_else(|| format!("{unit} is not a unit of size"))?;
        number.checked_mul(bytes).map(ByteSize).ok_or_else(|| "it is too large".to_owned())
    }

    fn toml(&self) -> String {
        format!("\"{self}\"")
    }
}

/// Units of time in microseconds, the largest first.
const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl Setting for Duration {
    const EXPECTED: &'static str = "a time with its unit, such as 30s (us, ms, s, m, h or d)";

    fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = number_and_unit(text)?;
        if unit.is_empty() {
            return Err("the unit is missing".to_owned());
        }
        let micros = TIME_UNITS.into_iter().find(|(name, _)| *name == unit);
        let (_, micros) = micros.ok_or_else(|| format!("{unit} is not a unit of time"))?;
        number.checked_mul(micros).map(Duration::from_micros).ok_or_else(|| "it is too long".to_owned())
    }

    fn toml(&self) -> String {
        let micros = self.as_micros();
        let (unit, size) = TIME_UNITS
            .into_iter()
            .find(|(_, size)| micros >= u128::from(*size) && micros.is_multiple_of(u128::from(*size)))
            .unwrap_or(("us", 1));
        format!("\"{}{unit}\"", micros / u128::from(size))
    }
}

fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.replace('_', "");
    if number.is_empty() {
        return Err("it does not begin with a whole number".to_owned());
    }
    Ok((number.parse().map_err(|_| "the number is too large".to_owned())?, unit.trim()))
}

macro_rules! whole_numbers {
    ($($Type:ty),*) => { $(
        impl Setting for $Type {
            const EXPECTED: &'static str = "a whole number";
            fn parse(text: &str) -> Result<Self, String> {
                text.trim().replace('_', "").parse().map_err(|_| {
                    format!("it is not a whole number from {} to {}", <$Type>::MIN, <$Type>::MAX)
                })
            }
            fn toml(&self) -> String {
                self.to_string()
            }
        }
    )* };
}
whole_numbers!(u8, u16, u32, usize);

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("it is neither true nor false".to_owned()),
        }
    }

    fn toml(&self) -> String {
        self.to_string()
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("it is empty".to_owned()),
            text => Ok(text.to_owned()),
        }
    }

    fn toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
    }

    fn toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for DelayLevels {
    const EXPECTED: &'static str = "times with their units, such as \"1s 5s 10s\" (s, m, h or d)";

    fn parse(text: &str) -> Result<Self, String> {
        DelayLevels::parse(text).map_err(|error| error.to_string())
    }

    fn toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A value, or the wish that the machine be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auto<T> {
    /// Ask the machine.
    Auto,
    /// This one.
    Is(T),
}

impl<T: Setting> Setting for Auto<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "auto" { Ok(Auto::Auto) } else { T::parse(text).map(Auto::Is) }
    }

    fn toml(&self) -> String {
        match self {
            Auto::Auto => "\"auto\"".to_owned(),
            Auto::Is(value) => value.toml(),
        }
    }
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// It runs shards.
    pub broker: bool,
    /// It runs a name server.
    pub namesrv: bool,
}

impl Setting for Roles {
    const EXPECTED: &'static str = "broker, namesrv, or broker,namesrv";

    fn parse(text: &str) -> Result<Self, String> {
        let mut roles = Roles { broker: false, namesrv: false };
        for role in text.split([',', ';']).map(str::trim).filter(|role| !role.is_empty()) {
            match role {
                "broker" => roles.broker = true,
                "namesrv" => roles.namesrv = true,
                other => return Err(format!("{other} is not a role")),
            }
        }
        if roles.broker || roles.namesrv { Ok(roles) } else { Err("no role is named".to_owned()) }
    }

    fn toml(&self) -> String {
        match (self.broker, self.namesrv) {
            (true, false) => "\"broker\"".to_owned(),
            (false, true) => "\"namesrv\"".to_owned(),
            _ => "\"broker,namesrv\"".to_owned(),
        }
    }
}

/// A list of `host:port`, separated by `;` as RocketMQ's tools write it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostPorts(pub Vec<String>);

impl Setting for HostPorts {
    const EXPECTED: &'static str = "addresses such as 10.0.0.1:9876;10.0.0.2:9876";

    fn parse(text: &str) -> Result<Self, String> {
        let addresses = text.split([';', ',']).map(str::trim).filter(|address| !address.is_empty());
        let mut checked = Vec::new();
        for address in addresses {
            let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("{address} has no port"))?;
            if host.is_empty() {
                return Err(format!("{address} has no host"));
            }
            if port.parse::<u16>().is_err() || port == "0" {
                return Err(format!("{port} is not a port"));
            }
            checked.push(address.to_owned());
        }
        Ok(HostPorts(checked))
    }

    fn toml(&self) -> String {
        quoted(&self.0.join(";"))
    }
}

/// When a send is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// After its bytes are durable.
    Sync,
    /// Before; they are flushed on a short timer.
    Async,
}

impl Setting for Flush {
    const EXPECTED: &'static str = "sync or async";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "sync" => Ok(Flush::Sync),
            "async" => Ok(Flush::Async),
            _ => Err("it is neither sync nor async".to_owned()),
        }
    }

    fn toml(&self) -> String {
        quoted(match self {
            Flush::Sync => "sync",
            Flush::Async => "async",
        })
    }
}

/// How bytes are made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMethod {
    /// Measure at start, take the faster.
    Probe,
    /// `write`, then `fdatasync`.
    Fdatasync,
    /// Files opened with `O_DSYNC`.
    Dsync,
}

impl Setting for FlushMethod {
    const EXPECTED: &'static str = "probe, fdatasync or dsync";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "probe" => Ok(FlushMethod::Probe),
            "fdatasync" => Ok(FlushMethod::Fdatasync),
            "dsync" => Ok(FlushMethod::Dsync),
            _ => Err("there is no such method".to_owned()),
        }
    }

    fn toml(&self) -> String {
        quoted(match self {
            FlushMethod::Probe => "probe",
            FlushMethod::Fdatasync => "fdatasync",
            FlushMethod::Dsync => "dsync",
        })
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses and shows again; errors as their text.
    fn shown<T: Setting>(text: &str) -> String {
        T::parse(text).map_or_else(|error| error, |value| value.toml())
    }

    #[test]
    fn sizes_carry_units() {
        let rows = [
            ("256MiB", "\"256MiB\""),
            ("256 mib", "\"256MiB\""),
            ("1_024", "\"1KiB\""),
            ("4097", "\"4097B\""),
            ("0", "\"0B\""),
            ("3GiB", "\"3GiB\""),
            ("1MB", "MB is not a unit of size"),
            ("many", "it does not begin with a whole number"),
            ("17179869184GiB", "it is too large"),
            ("99999999999999999999", "the number is too large"),
        ];
        for (text, expected) in rows {
            assert_eq!(shown::<ByteSize>(text), expected, "{text}");
        }
    }

    #[test]
    fn times_need_units() {
        let rows = [
            ("30s", "\"30s\""),
            ("1500ms", "\"1500ms\""),
            ("120 s", "\"2m\""),
            ("48h", "\"2d\""),
            ("200us", "\"200us\""),
            ("0ms", "\"0us\""),
            ("30", "the unit is missing"),
            ("30 sec", "sec is not a unit of time"),
            ("-1s", "it does not begin with a whole number"),
        ];
        for (text, expected) in rows {
            assert_eq!(shown::<Duration>(text), expected, "{text}");
        }
    }

    #[test]
    fn lists_and_choices_say_what_is_wrong() {
        assert_eq!(shown::<Roles>("namesrv , broker"), "\"broker,namesrv\"");
        assert_eq!(shown::<Roles>("controller"), "controller is not a role");
        assert_eq!(shown::<Roles>(""), "no role is named");
        assert_eq!(shown::<HostPorts>("a:1;[::1]:2;"), "\"a:1;[::1]:2\"");
        assert_eq!(shown::<HostPorts>("a"), "a has no port");
        assert_eq!(shown::<HostPorts>(":1"), ":1 has no host");
        assert_eq!(shown::<HostPorts>("a:70000"), "70000 is not a port");
        assert_eq!(shown::<Flush>("ASYNC_FLUSH"), "it is neither sync nor async");
        assert_eq!(shown::<u16>("70000"), "it is not a whole number from 0 to 65535");
        assert_eq!(shown::<Auto<usize>>("auto"), "\"auto\"");
        assert_eq!(shown::<Auto<usize>>("3"), "3");
        assert_eq!(shown::<bool>("yes"), "it is neither true nor false");
        assert_eq!(shown::<PathBuf>("/a \"b\""), "'/a \"b\"'");
    }
}
