//! Tags and their hash codes: Java's `String.hashCode` of the TAGS value.

/// Java's `String.hashCode`: h = 31·h + c over UTF-16 code units.
pub fn hash_code(tag: &str) -> i32 {
    tag.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}
