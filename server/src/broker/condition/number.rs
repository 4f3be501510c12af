//! Texts as numbers, and numbers beside each other, as Java has them. Pure.
//!
//! Source: `Integer.valueOf`, `Long.valueOf`, `Double.valueOf`, `Double.compareTo`.

use std::cmp::Ordering;
use std::str::FromStr;

use super::NUMBER_BYTES_MAX;

/// A whole number of 32 or 64 bits: a sign, and digits that fit.
pub(super) fn whole<T: FromStr>(text: &[u8]) -> Option<T> {
    limited(text)?.parse().ok()
}

/// A double. Blanks around it are passed over; NaN, Infinity and a suffix of D or F are understood.
pub(super) fn double(text: &[u8]) -> Option<f64> {
    let text = limited(text)?.trim_matches(|at: char| at <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = match unsigned {
        "NaN" => return Some(f64::NAN),
        "Infinity" => f64::INFINITY,
        _ => {
            let digits = unsigned.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(unsigned);
            // Everything else that Rust would understand, such as `inf`, begins with a letter.
            if !digits.starts_with(|at: char| at.is_ascii_digit() || at == '.') {
                return None;
            }
            digits.parse().ok()?
        }
    };
    Some(if text.starts_with('-') { -value } else { value })
}

/// The order of doubles: -0.0 is before 0.0, and NaN after everything.
pub(super) fn order(one: f64, other: f64) -> Ordering {
    let canonical = |value: f64| if value.is_nan() { f64::NAN.abs() } else { value };
    canonical(one).total_cmp(&canonical(other))
}

fn limited(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok().filter(|text| text.len() <= NUMBER_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_numbers_that_java_reads() {
        #[rustfmt::skip]
        let wholes = [("5", Some(5)), ("+5", Some(5)), ("-5", Some(-5)), ("007", Some(7)), ("-2147483648", Some(i32::MIN)),
            ("2147483648", None), ("5.0", None), (" 5", None), ("", None), ("+", None), ("--5", None), ("5L", None)];
        for (text, expected) in wholes {
            assert_eq!(whole::<i32>(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(whole::<i64>(b"2147483648"), Some(1 << 31));
        #[rustfmt::skip]
        let doubles = [("5", Some(5.0)), ("5.", Some(5.0)), (".5", Some(0.5)), ("-5e-1", Some(-0.5)), ("+1E2", Some(100.0)),
            (" 5\t", Some(5.0)), ("5d", Some(5.0)), ("5.5F", Some(5.5)), ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1e999", Some(f64::INFINITY)), ("1e-999", Some(0.0)), ("inf", None), ("nan", None), ("infinity", None),
            ("", None), (" ", None), (".", None), ("+", None), ("d", None), ("1e", None), ("1 2", None), ("+-1", None), ("5dd", None),
            ("Infinityd", None)];
        for (text, expected) in doubles {
            assert_eq!(double(text.as_bytes()), expected, "{text:?}");
        }
        assert!(double(b"-NaN").is_some_and(f64::is_nan));
        assert_eq!(double(&[b'0'; NUMBER_BYTES_MAX]), Some(0.0));
        assert_eq!(double(&[b'0'; NUMBER_BYTES_MAX + 1]), None);
        assert_eq!(double(b"\xff"), None);
    }

    #[test]
    fn doubles_have_javas_order() {
        let rising = [f64::NEG_INFINITY, -1.0, -0.0, 0.0, f64::MIN_POSITIVE, 1.0, f64::INFINITY, -f64::NAN];
        assert!(rising.is_sorted_by(|one, next| order(*one, *next) == Ordering::Less));
        assert_eq!(order(f64::NAN, -f64::NAN), Ordering::Equal);
    }
}
