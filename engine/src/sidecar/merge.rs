//! Several sorted sources as one: of equal keys the newest source's counts. Pure.

use super::Damaged;
use super::map::Rows;
use super::table::Row;
use crate::planted::{self, Bug};

/// Rows in the order of their keys.
pub(crate) enum Source<'a> {
    /// Of a sidecar's table.
    Rows(Rows<'a>),
    /// Of memory.
    Memory(Box<dyn Iterator<Item = Row<'a>> + 'a>),
}

impl<'a> Source<'a> {
    fn next(&mut self) -> Result<Option<Row<'a>>, Damaged> {
        match self {
            Source::Rows(rows) => rows.next(),
            Source::Memory(rows) => Ok(rows.next()),
        }
    }
}

/// See the module.
pub(crate) struct Merge<'a> {
    /// Newest first, each with its next row.
    sources: Vec<(Source<'a>, Option<Row<'a>>)>,
}

impl<'a> Merge<'a> {
    /// Merges sources, the newest first.
    pub fn new(sources: impl IntoIterator<Item = Source<'a>>) -> Result<Merge<'a>, Damaged> {
        let with_head = |mut source: Source<'a>| source.next().map(|head| (source, head));
        Ok(Merge { sources: sources.into_iter().map(with_head).collect::<Result<_, _>>()? })
    }

    /// The next key's newest row, and the number of its source. What is deleted is given too.
    pub fn next(&mut self) -> Result<Option<(usize, Row<'a>)>, Damaged> {
        let oldest = planted::is(Bug::SidecarOldestWins);
        let mut least: Option<(usize, Row<'a>)> = None;
        for (number, (_, head)) in self.sources.iter().enumerate() {
            if let Some(row) = head
                && least.is_none_or(|(_, least)| row.key < least.key || (oldest && row.key == least.key))
            {
                least = Some((number, *row));
            }
        }
        let Some((number, row)) = least else { return Ok(None) };
        for (source, head) in &mut self.sources {
            if head.is_some_and(|head| head.key == row.key) {
                *head = source.next()?;
            }
        }
        Ok(Some((number, row)))
    }
}
