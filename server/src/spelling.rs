//! What somebody may have meant who wrote a name that does not exist.

/// The candidate that takes the fewest edits, and nothing when more than a third of the name would have to change.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) = candidates
        .into_iter()
        .map(|candidate| (edits(name, candidate), candidate))
        .min_by_key(|(edits, _)| *edits)?;
    (distance <= edits_allowed(name)).then_some(nearest)
}

/// Edits of a name that still count as a slip.
pub fn edits_allowed(name: &str) -> usize {
    2.max(name.len() / 3)
}

/// Levenshtein's distance.
pub fn edits(a: &str, b: &str) -> usize {
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.bytes().enumerate() {
            let change = previous[j] + usize::from(x != y);
            row.push(change.min(previous[j + 1] + 1).min(row[j] + 1));
        }
        previous = row;
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_within_a_slip() {
        let names = ["orders", "order-events", "invoices"];
        for (name, expected) in [
            ("oders", Some("orders")),
            ("order_events", Some("order-events")),
            ("shipping", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, names), expected, "{name}");
        }
        assert_eq!(nearest("x", []), None);
        assert_eq!((edits("", "abc"), edits("kitten", "sitting")), (3, 3));
    }
}
