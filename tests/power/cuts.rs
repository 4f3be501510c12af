//! Cuts at random moments of a file system under load, and again while the node recovers from the last one.
//!
//! ```text
//!   new file system ─▶ mount ─▶ node ─▶ compare ─▶ load ─ cut ─▶ node ends ─▶ unmount ─┐
//!                        ▲  └▶ node ─ cut while it starts ─▶ kill ─▶ unmount ──────────┤
//!                        └─────────────────────────────────────────────────────────────┘
//! ```

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringmq_engine::env::Random;

use super::file_system::{Cut, Kind, Mounted, empty_file};
use super::{check, create_topic, settings};
use crate::compat::process::Process;
use crate::compat::ringmq::Node;
use crate::compat::site::Folder;
use crate::compat::wire::await_that;
use crate::load::{Known, Load};

/// Cuts of one file system before the next is made.
const CUTS_PER_FILE_SYSTEM: u64 = 10;
/// Answers before a cut, at most.
const ANSWERS_MAX: u64 = 3000;
const PATIENCE: Duration = Duration::from_secs(60);
/// A node that can no longer write ends by itself, well within this.
const END_PATIENCE: Duration = Duration::from_secs(20);
/// A cut while the node starts comes within this.
const START_MS: u64 = 150;

/// What was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Cuts.
    pub cuts: u64,
    /// Of these, by [`Cut::ALL`].
    pub by_how: [u64; 3],
    /// Of these, while the node started.
    pub starting: u64,
    /// Nodes that ended by themselves once nothing could be written.
    pub ended: u64,
    /// File systems made.
    pub file_systems: u64,
    /// Sends answered as stored, on all of them.
    pub answered: u64,
    /// Records found after the last cut, on all of them.
    pub found: u64,
}

/// Cuts `count` times. An error says what was lost.
pub fn run(kind: Kind, count: u64, seed: u64, mut progress: impl FnMut(&Tally)) -> Result<Tally, String> {
    let random = Random::new(seed);
    let mut tally = Tally::default();
    while tally.cuts < count {
        let cuts = CUTS_PER_FILE_SYSTEM.min(count - tally.cuts);
        let folder = Folder::new("power");
        let series = Series::new(kind, &folder.path, random.fork())?;
        series.run(cuts, &mut tally, &mut progress)?;
        tally.file_systems += 1;
    }
    Ok(tally)
}

/// The cuts of one file system.
struct Series<'a> {
    kind: Kind,
    folder: &'a Path,
    random: Random,
    known: Arc<Mutex<Known>>,
}

impl Series<'_> {
    fn new(kind: Kind, folder: &Path, random: Random) -> Result<Series<'_>, String> {
        let series = Series { kind, folder, random, known: Arc::default() };
        empty_file(&series.folder.join("disk"), kind.bytes())?;
        kind.make(&series.folder.join("disk"))?;
        Ok(series)
    }

    fn run(&self, cuts: u64, tally: &mut Tally, progress: &mut impl FnMut(&Tally)) -> Result<(), String> {
        let mut has_topic = false;
        for _ in 0..cuts {
            // Mostly the way that loses most.
            let how = [0, 0, 0, 1, 2][self.random.index(5)];
            let mounted = self.mount()?;
            if self.random.chance(250) {
                self.cut_while_starting(&mounted, Cut::ALL[how])?;
                tally.starting += 1;
            } else {
                self.cut_under_load(&mounted, Cut::ALL[how], &mut has_topic, tally)?;
            }
            mounted.unmount();
            tally.cuts += 1;
            tally.by_how[how] += 1;
            progress(tally);
        }
        let mounted = self.mount()?;
        let mut node = Node::start(settings(mounted.folder(), "8MiB"));
        if has_topic {
            tally.found += check(&node, &self.known, 0)? as u64;
        }
        node.process.kill();
        mounted.unmount();
        Ok(())
    }

    fn mount(&self) -> Result<Mounted, String> {
        Mounted::new(self.kind, &self.folder.join("disk"), &self.folder.join("mounted"))
    }

    fn cut_under_load(
        &self,
        mounted: &Mounted,
        how: Cut,
        has_topic: &mut bool,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let node = Node::start(settings(mounted.folder(), "8MiB"));
        if *has_topic {
            check(&node, &self.known, 0)?;
        } else {
            create_topic(&node)?;
            *has_topic = true;
        }
        let load = Load::start(&node.settings.shard_address(0), self.known.clone());
        let target = 1 + self.random.below(ANSWERS_MAX) as usize;
        await_that(&format!("{target} answers"), PATIENCE, || (load.answers() >= target).then_some(()));
        mounted.cut(how)?;
        let (status, lines) = node.process.finish(END_PATIENCE);
        tally.answered += load.answers() as u64;
        load.end();
        if status.success() {
            return Err(format!("the node called its end a success:\n{}", lines.join("\n")));
        }
        tally.ended += 1;
        Ok(())
    }

    fn cut_while_starting(&self, mounted: &Mounted, how: Cut) -> Result<(), String> {
        let mut process = Process::start("ringmq", &mut settings(mounted.folder(), "8MiB").command());
        let cut_at = Instant::now() + Duration::from_millis(self.random.below(START_MS));
        while process.next_line(cut_at).is_some() {}
        mounted.cut(how)?;
        process.kill();
        Ok(())
    }
}
