//! Look-ups of keys against all records of a store: each record is found by its keys, in the order of the log, and nothing
//! else is.

use ringmq_wire::record::{Record, Records};

use super::model::{CheckError, QUEUES};
use crate::env::Env;
use crate::keys::KeyQuery;
use crate::offset::PhysicalOffset;
use crate::store::Store;

/// Keys that records share, by the number of their batch.
const SHARED: u64 = 3;
/// Candidates of one look-up: so few that most go on.
const PAGE: usize = 2;

/// The properties of a batch's records: a key that few batches have, and one that others have too. Of one length.
pub(super) fn properties(batch: u64) -> String {
    format!("KEYS\x01k{}\x02UNIQ_KEY\x01u{batch:05}\x02", batch % SHARED)
}

/// The newest durable record that some batches have a key of.
pub(super) fn newest<E: Env>(store: &Store<E>) -> Option<PhysicalOffset> {
    let query = KeyQuery { topic: QUEUES[0].0, key: "k1", stored_ms: i64::MIN..=i64::MAX };
    store.find_by_key(&query, None, 1).candidates.first().copied()
}

/// Compares what look-ups find with the records that the store has, each queue's as one piece.
pub(super) async fn check<E: Env>(store: &Store<E>, queues: &[Vec<u8>]) -> Result<(), CheckError> {
    let records = queues.iter().flat_map(|bytes| Records::new(bytes));
    let mut records: Vec<Record<'_>> =
        records.collect::<Result<_, _>>().map_err(|error| format!("a record that is none: {error}"))?;
    records.sort_unstable_by_key(|record| record.physical_offset);
    // All shared keys, and the unique ones of the oldest and the newest record.
    let mut keys: Vec<String> = (0..SHARED).map(|key| format!("k{key}")).collect();
    let ends = [records.first(), records.last()].into_iter().flatten();
    keys.extend(ends.filter_map(|record| record.property("UNIQ_KEY")).map(str::to_owned));
    for key in &keys {
        for topic in [QUEUES[0].0, QUEUES[2].0] {
            let query = KeyQuery { topic, key, stored_ms: i64::MIN..=i64::MAX };
            let found = find_all(store, &query, &records).await?;
            let expected = records.iter().rev().filter(|record| query.matches(record));
            let expected: Vec<i64> = expected.map(|record| record.physical_offset).collect();
            if found != expected {
                return Err(
                    format!("{topic}#{key} is found at {found:?}, records lie at {expected:?}").into()
                );
            }
        }
    }
    Ok(())
}

/// The places of all records that are meant, as look-ups return them.
async fn find_all<E: Env>(
    store: &Store<E>,
    query: &KeyQuery<'_>,
    records: &[Record<'_>],
) -> Result<Vec<i64>, CheckError> {
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let mut some = store.find_by_key(query, before, PAGE);
        if some.candidates.is_empty() && some.next.is_some() {
            // A sidecar may have turned out to be damaged: it is made again, and look-ups wait.
            store.sealed().await;
            some = store.find_by_key(query, before, PAGE);
        }
        for PhysicalOffset(at) in &some.candidates {
            let index = records.binary_search_by_key(at, |record| record.physical_offset.cast_unsigned());
            let Ok(index) = index else {
                return Err(format!("{query:?} is found at {at}, where no record is shown").into());
            };
            if query.matches(&records[index]) {
                found.push(records[index].physical_offset);
            }
        }
        match some.next {
            None => return Ok(found),
            Some(_) if some.next == before => {
                return Err(format!("{query:?} comes no further than {before:?}").into());
            }
            next => before = next,
        }
    }
}
