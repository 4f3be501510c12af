//! Whole tables, as administration asks for them: in parts, with a version.

use ringmq_wire::json;
use ringmq_wire::request::topic::DataVersion;
use serde::Serialize;

use super::limits::TABLE_BYTES_MAX;
use super::reply::Refusal;

/// The rows from number `first` on, at most `max`. What is not said: from the beginning, and all.
pub fn page<I: Iterator>(rows: I, first: Option<i32>, max: Option<i32>) -> impl Iterator<Item = I::Item> {
    let first = usize::try_from(first.unwrap_or(0)).unwrap_or(0);
    let max = max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(0));
    rows.skip(first).take(max)
}

/// A table, or such a page of it, as the body of an answer; refused if no client would take it. `pages` are the fields to
/// ask for less.
pub fn body(table: &impl Serialize, rows: usize, pages: &'static str) -> Result<Vec<u8>, Refusal> {
    let body = json::write(table);
    if body.len() > TABLE_BYTES_MAX { Err(Refusal::TableTooLong { rows, pages }) } else { Ok(body) }
}

/// The version of a table that has changed so often since this broker opened.
pub fn data_version(changes: u64, opened_wall_ms: i64) -> DataVersion {
    DataVersion { counter: changes.cast_signed(), state_version: 0, timestamp: opened_wall_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_was_asked_for_and_never_more() {
        #[rustfmt::skip]
        let rows: &[(Option<i32>, Option<i32>, &[i32])] = &[
            (None,     None,     &[0, 1, 2, 3]),
            (Some(1),  None,     &[1, 2, 3]),
            (None,     Some(2),  &[0, 1]),
            (Some(3),  Some(2),  &[3]),
            (Some(4),  Some(2),  &[]),
            (Some(-1), Some(1),  &[0]),
            (Some(0),  Some(-1), &[]),
        ];
        for (first, max, expected) in rows {
            assert_eq!(page(0..4, *first, *max).collect::<Vec<i32>>(), *expected, "{first:?} {max:?}");
        }
    }
}
