//! Facts: one ordered map of small keys to small values, over everything that the state consists of. Pure.

use std::ops::RangeInclusive;

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
        let memory = self.learnt.iter().rev();
        let memory = memory.map(|learnt| Source::Memory(Box::new(learnt.changes_from(from))));
        let mut merge = Merge::new(memory.chain(self.sidecars.facts_from(from)?))?;
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
}
