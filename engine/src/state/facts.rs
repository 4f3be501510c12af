//! Facts: one ordered map of small keys to small values. Pure.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};

/// See the module. One per shard.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    map: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

impl Facts {
    /// Number of facts.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// A fact's value.
    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.map.get(key).map(|value| &**value)
    }

    /// Whether setting the key to the value (`None`: deleting it) would change anything.
    pub fn would_change(&self, key: &[u8], value: Option<&[u8]>) -> bool {
        self.value(key) != value
    }

    /// Sets a fact.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        match self.map.get_mut(key) {
            // Group offsets and the like keep their length: no allocation then.
            Some(old) if old.len() == value.len() => old.copy_from_slice(value),
            Some(old) => *old = value.into(),
            None => {
                self.map.insert(key.into(), value.into());
            }
        }
    }

    /// Deletes a fact.
    pub fn delete(&mut self, key: &[u8]) {
        self.map.remove(key);
    }

    /// Visits a range of keys, in order.
    pub fn visit(&self, range: RangeInclusive<&[u8]>, mut visit: impl FnMut(&[u8], &[u8])) {
        if range.start() > range.end() {
            return;
        }
        let bounds = (Bound::Included(*range.start()), Bound::Included(*range.end()));
        for (key, value) in self.map.range::<[u8], _>(bounds) {
            visit(key, value);
        }
    }

    /// Visits the facts whose key begins with `prefix`, in order.
    pub fn visit_prefix(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &[u8])) {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        for (key, value) in self.map.range::<[u8], _>(from).take_while(|(key, _)| key.starts_with(prefix)) {
            visit(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(facts: &Facts, visit: impl FnOnce(&Facts, &mut dyn FnMut(&[u8], &[u8]))) -> Vec<String> {
        let mut keys = Vec::new();
        visit(facts, &mut |key, _| keys.push(String::from_utf8_lossy(key).into_owned()));
        keys
    }

    #[test]
    fn ranges_and_prefixes_are_visited_in_order() {
        let mut facts = Facts::default();
        for key in ["b/2", "a", "b/1", "b", "c", "b0"] {
            facts.put(key.as_bytes(), b"v");
        }
        assert_eq!(keys(&facts, |f, v| f.visit_prefix(b"b/", v)), ["b/1", "b/2"]);
        assert_eq!(keys(&facts, |f, v| f.visit_prefix(b"x", v)), [""; 0]);
        assert_eq!(keys(&facts, |f, v| f.visit(b"b"..=b"b/2", v)), ["b", "b/1", "b/2"]);
        assert_eq!(keys(&facts, |f, v| f.visit(b"c"..=b"a", v)), [""; 0]);
    }

    #[test]
    fn the_same_value_is_no_change() {
        let mut facts = Facts::default();
        #[rustfmt::skip]
        let rows: &[(Option<&[u8]>, bool)] =
            &[(None, false), (Some(b"1"), true), (Some(b"1"), false), (Some(b"22"), true), (Some(b""), true), (None, true)];
        for (value, changes) in rows {
            assert_eq!(facts.would_change(b"k", *value), *changes, "to {value:?}");
            match value {
                Some(value) => facts.put(b"k", value),
                None => facts.delete(b"k"),
            }
            assert_eq!(facts.value(b"k"), *value);
        }
        assert_eq!(facts.len(), 0);
    }
}
