//! The KV table: small texts by namespace and key, for tools and for the order of topics.
//!
//! Kept in memory only. RocketMQ writes it to `kvConfig.json`; here the log is the one thing that is written,
//! and a name server has none. What was put is gone after a restart, so put it again from where it came from:
//! `mqadmin updateOrderConf` and `updateKvConfig` may be repeated at any time.
//!
//! Source: `namesrv/.../kvconfig/KVConfigManager.java`.

use std::collections::BTreeMap;

use super::limits::{KV_ENTRIES_MAX, KV_ENTRY_BYTES_MAX};

/// Where the order of topics is kept: topic → `broker:queues;broker:queues`.
/// (`NamesrvUtil.NAMESPACE_ORDER_TOPIC_CONFIG`)
pub const ORDER_TOPICS: &str = "ORDER_TOPIC_CONFIG";

/// One per name server.
#[derive(Debug, Default)]
pub struct KvTable {
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    entries: usize,
}

/// Why an entry was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The entry is too large.
    #[error("an entry of {bytes} bytes exceeds {max}")]
    TooLarge {
        /// Key and value together.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The table is full.
    #[error("the KV table holds {0} entries already")]
    Full(usize),
}

impl KvTable {
    /// Sets a value.
    pub fn put(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), PutError> {
        let bytes = namespace.len() + key.len() + value.len();
        if bytes > KV_ENTRY_BYTES_MAX {
            return Err(PutError::TooLarge { bytes, max: KV_ENTRY_BYTES_MAX });
        }
        let is_new = self.get(namespace, key).is_none();
        if is_new && self.entries >= KV_ENTRIES_MAX {
            return Err(PutError::Full(KV_ENTRIES_MAX));
        }
        let table = self.namespaces.entry(namespace.to_owned()).or_default();
        table.insert(key.to_owned(), value.to_owned());
        self.entries += usize::from(is_new);
        Ok(())
    }

    /// A value.
    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.namespaces.get(namespace)?.get(key).map(String::as_str)
    }

    /// Deletes a value, if it is there.
    pub fn delete(&mut self, namespace: &str, key: &str) {
        let Some(table) = self.namespaces.get_mut(namespace) else { return };
        self.entries -= usize::from(table.remove(key).is_some());
        if table.is_empty() {
            self.namespaces.remove(namespace);
        }
    }

    /// All of a namespace; `None` if nothing is in it.
    pub fn namespace(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_changed_and_deleted() {
        let mut kv = KvTable::default();
        kv.put("n", "k", "1").unwrap();
        kv.put("n", "k", "2").unwrap();
        assert_eq!(kv.get("n", "k"), Some("2"));
        assert_eq!(kv.get("m", "k"), None);
        assert_eq!(kv.entries, 1);
        kv.delete("n", "other");
        kv.delete("n", "k");
        assert_eq!(kv.namespace("n"), None);
        assert_eq!(kv.entries, 0);
    }

    #[test]
    fn a_full_table_still_takes_changes_of_what_it_has() {
        let mut kv = KvTable::default();
        for key in 0..KV_ENTRIES_MAX {
            kv.put("n", &key.to_string(), "").unwrap();
        }
        assert_eq!(kv.put("n", "one more", ""), Err(PutError::Full(KV_ENTRIES_MAX)));
        assert_eq!(kv.put("n", "0", "changed"), Ok(()));
    }

    #[test]
    fn an_entry_that_is_too_large_is_refused() {
        let mut kv = KvTable::default();
        let value = "v".repeat(KV_ENTRY_BYTES_MAX - 2);
        assert_eq!(kv.put("n", "k", &value), Ok(()));
        let refused = kv.put("n", "kk", &value);
        assert_eq!(
            refused,
            Err(PutError::TooLarge { bytes: KV_ENTRY_BYTES_MAX + 1, max: KV_ENTRY_BYTES_MAX })
        );
    }
}
