//! Facts: one ordered map of small keys to small values, over everything that the state consists of. Pure.

use std::ops::{ControlFlow, RangeInclusive};

use super::State;
use crate::sidecar::{Damaged, Merge, Source};

impl State {
    /// A fact's value.
    pub fn fact(&self, key: &[u8]) -> Option<&[u8]> {
        for learnt in self.learnt.iter().rev() {
            if let Some(value) = learnt.facts.get(key) {
                return value.as_deref();
            }
        }
        // What a store cannot do without was checked when the sidecar was taken.
        self.sidecars.fact(key).unwrap_or_else(|damaged| {
            tracing::error!(%damaged, "a fact is not known");
            None
        })
    }

    /// Whether setting the key to the value (`None`: deleting it) would change anything.
    pub fn would_change(&self, key: &[u8], value: Option<&[u8]>) -> bool {
        self.fact(key) != value
    }

    /// Visits a range of keys, in order.
    pub fn visit_facts(&self, range: RangeInclusive<&[u8]>, visit: impl FnMut(&[u8], &[u8])) {
        self.visit_from(range.start(), |key| key <= *range.end(), visit);
    }

    /// Visits the facts whose key begins with `prefix`, in order.
    pub fn visit_facts_with_prefix(&self, prefix: &[u8], visit: impl FnMut(&[u8], &[u8])) {
        self.visit_from(prefix, |key| key.starts_with(prefix), visit);
    }

    /// Visits facts from a key on, in order, until `visit` breaks off or `max` facts and deletions of facts were looked at.
    /// Returns where to go on: the key at which `visit` broke off, or the next one.
    pub fn some_facts(
        &self,
        from: &[u8],
        max: usize,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<Option<Vec<u8>>, Damaged> {
        let mut merge = self.merged_from(from)?;
        let mut looked_at = 0;
        while let Some((_, row)) = merge.next()? {
            if looked_at == max || row.value.is_some_and(|value| visit(row.key, value).is_break()) {
                return Ok(Some(row.key.to_vec()));
            }
            looked_at += 1;
        }
        Ok(None)
    }

    fn visit_from(&self, from: &[u8], goes_on: impl Fn(&[u8]) -> bool, visit: impl FnMut(&[u8], &[u8])) {
        if let Err(damaged) = self.try_visit(from, goes_on, visit) {
            tracing::error!(%damaged, "facts are not known");
        }
    }

    fn try_visit(
        &self,
        from: &[u8],
        goes_on: impl Fn(&[u8]) -> bool,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Damaged> {
        let mut merge = self.merged_from(from)?;
        while let Some((_, row)) = merge.next()? {
            if !goes_on(row.key) {
                break;
            }
            if let Some(value) = row.value {
                visit(row.key, value);
            }
        }
        Ok(())
    }

    fn merged_from<'a>(&'a self, from: &[u8]) -> Result<Merge<'a>, Damaged> {
        let memory = self.learnt.iter().rev();
        let memory = memory.map(|learnt| Source::Memory(Box::new(learnt.changes_from(from))));
        Merge::new(memory.chain(self.sidecars.facts_from(from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::SidecarSet;

    #[test]
    fn facts_are_visited_in_order_from_the_first_key_to_the_last_one_included() {
        let mut state = State::over(SidecarSet::default(), 1 << 20);
        // In three segments, the newest of which counts.
        for (physical, keys) in
            [(0, ["b", "a", "d"]), (1 << 20, ["ab", "c", "b"]), (2 << 20, ["e", "d", "ca"])]
        {
            for key in keys {
                state.apply_fact(physical, key.as_bytes(), Some(&[(physical >> 20) as u8]));
            }
        }
        state.apply_fact(2 << 20, b"c", None);
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, u8)]);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            ("",   "z",  &[("a", 0), ("ab", 1), ("b", 1), ("ca", 2), ("d", 2), ("e", 2)]),
            ("ab", "d",  &[("ab", 1), ("b", 1), ("ca", 2), ("d", 2)]),
            ("aa", "cz", &[("ab", 1), ("b", 1), ("ca", 2)]),
            ("c",  "c",  &[]),
            ("b",  "b",  &[("b", 1)]),
            ("d",  "b",  &[]),
        ];
        for (first, last, expected) in rows {
            let mut visited = Vec::new();
            state.visit_facts(first.as_bytes()..=last.as_bytes(), |key, value| {
                visited.push((String::from_utf8_lossy(key).into_owned(), value[0]));
            });
            let visited: Vec<_> = visited.iter().map(|(key, value)| (key.as_str(), *value)).collect();
            assert_eq!(visited, *expected, "{first} to {last}");
        }
        let mut with_prefix = Vec::new();
        state.visit_facts_with_prefix(b"a", |key, _| with_prefix.push(key.to_vec()));
        assert_eq!(with_prefix, [&b"a"[..], b"ab"]);
        for (key, value) in [("a", Some(0)), ("b", Some(1)), ("c", None), ("d", Some(2)), ("x", None)] {
            assert_eq!(
                state.fact(key.as_bytes()),
                value.map(|value| [value]).as_ref().map(|it| &it[..]),
                "{key}"
            );
        }
        assert_eq!(state.live_facts(), 6);
    }
}
