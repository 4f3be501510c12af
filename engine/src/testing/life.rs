//! One life of a store: opened on some disk, checked, given batches, watched at every step, and ended.
//!
//! ```text
//!   disk ──▶ open ──▶ check against the model ──▶ batches … ──▶ (close)
//!             ▲  └ a crash may come anywhere in here, and the next life begins on what it leaves ┘
//!             └──────────────────────────────────────────────────────────────────────────────────
//! ```
//!
//! Watched at every step
//!  1. The watermark never goes back, and never moves again once the log is poisoned.
//!  2. Consumers see nothing that is not durable, and nothing else is found by a key.
//!  3. A program that waits in vain is a failure.
//!  4. What was planned to be read is read, whatever retires meanwhile, and nothing retires before its time.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::keyed;
use super::model::{CheckError, Model, Plan, QUEUES};
use super::workload::{FOLDER, Pace};
use crate::batch::Batch;
use crate::env::sim::{PATIENCE, Sim, SimEnv, Step};
use crate::env::{Env, Signal, TaskClass};
use crate::store::{AppendError, OpenError, Piece, ReadBudget, ReadError, Store, StoreOptions, Ticket};

/// Tries of a batch that is refused for want of space or for being busy.
const REFUSALS_MAX: usize = 200;
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// What happens in one life.
#[derive(Debug, Clone)]
pub struct Script {
    /// How the store is opened.
    pub options: StoreOptions,
    /// Batches that must have survived.
    pub answered: usize,
    /// So many of the batches that were appended and have not survived are given to it again, from the first one
    /// on: producers that got no answer send again, but not all of them.
    pub resends: (usize, Pace),
    /// What it is given after that.
    pub plans: Vec<(Plan, Pace)>,
    /// Waits for the last batch, so that all are answered in the end.
    pub settles: bool,
    /// Closes the store.
    pub closes: bool,
}

/// A life as seen from outside, shared with the task that lives it.
pub struct Life {
    script: Script,
    model: RefCell<Model>,
    store: RefCell<Option<Store<SimEnv>>>,
    /// The store has been opened, and is perhaps being checked.
    opened: Cell<bool>,
    /// Batches found at the check.
    recovered: Cell<Option<usize>>,
    /// A fact that it found points to a record that was carried forward.
    carried: Cell<bool>,
    end: RefCell<Option<Result<(), String>>>,
    refused: RefCell<Option<OpenError>>,
    unread: RefCell<Option<String>>,
    durable: Cell<Ticket>,
    poisoned_at: Cell<Option<Ticket>>,
}

impl Life {
    /// Begins a life on a simulated process. `model` is what was appended in earlier lives.
    pub fn begin(sim: &Sim, model: Model, script: Script) -> Rc<Life> {
        let life = Rc::new(Life {
            script,
            model: RefCell::new(model),
            store: RefCell::default(),
            opened: Cell::default(),
            recovered: Cell::default(),
            carried: Cell::default(),
            end: RefCell::default(),
            refused: RefCell::default(),
            unread: RefCell::default(),
            durable: Cell::default(),
            poisoned_at: Cell::default(),
        });
        let (env, living) = (sim.env(), life.clone());
        sim.env().spawn(TaskClass::Serve, async move {
            let end = living.live(env).await;
            living.end.replace(Some(end));
        });
        life
    }

    /// Runs it until it ends or `watch` breaks off; after every step the watched promises are checked.
    pub fn run(&self, sim: &Sim, mut watch: impl FnMut(&Life) -> ControlFlow<()>) -> Result<(), String> {
        loop {
            let step = sim.step();
            self.look()?;
            if watch(self).is_break() {
                return Ok(());
            }
            if let Some(end) = self.end.borrow_mut().take() {
                return end;
            }
            if step == Step::Nothing || sim.now() > PATIENCE {
                return Err(format!("waits in vain; the latest operations were:\n{}", sim.trace().latest()));
            }
        }
    }

    /// Batches that have been answered: they must survive from now on.
    pub fn answered(&self) -> usize {
        let durable = self.model.borrow().answered(self.durable.get());
        // Before the store is open, what had to survive still has to.
        if self.recovered.get().is_some() { durable } else { self.script.answered }
    }

    /// What has been appended so far, in this life and earlier ones.
    pub fn model(&self) -> Model {
        self.model.borrow().clone()
    }

    /// Batches that have been appended, in this life and earlier ones.
    pub fn appended(&self) -> usize {
        self.model.borrow().len()
    }

    /// Whether the log has been poisoned.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned_at.get().is_some()
    }

    /// Whether the store has been opened.
    pub fn is_opened(&self) -> bool {
        self.opened.get()
    }

    /// Batches that the check found; `None` before it.
    pub fn recovered(&self) -> Option<usize> {
        self.recovered.get()
    }

    /// Whether a fact that the check found points to a record that was carried forward.
    pub fn is_any_carried(&self) -> bool {
        self.carried.get()
    }

    /// Physical offset at which the log begins; 0 before it is open.
    pub fn log_start(&self) -> u64 {
        self.log_bounds().0
    }

    /// Physical offsets at which the log begins and ends; 0 before it is open.
    pub fn log_bounds(&self) -> (u64, u64) {
        self.store.borrow().as_ref().map_or((0, 0), |store| {
            let (start, end) = store.log_bounds();
            (start.0, end.0)
        })
    }

    /// Why the store would not open, if it would not.
    pub fn refused(&self) -> Option<OpenError> {
        self.refused.borrow().clone()
    }

    /// Why a record was not served to the check, if one was not.
    pub fn unread(&self) -> Option<String> {
        self.unread.borrow().clone()
    }

    async fn live(&self, env: SimEnv) -> Result<(), String> {
        let progress = Rc::new(Signal::new());
        let options = self.script.options.clone();
        let opened = Store::open(env.clone(), Path::new(FOLDER), options, progress.clone()).await;
        let store = match opened {
            Ok((store, _)) => store,
            Err(error) => {
                self.refused.replace(Some(error.clone()));
                return Err(format!("the store does not open: {error}"));
            }
        };
        self.opened.set(true);
        let model = self.model.borrow().clone();
        let checked = model.check(&env, &store, self.script.answered).await;
        let recovered = checked.map_err(|error| match error {
            CheckError::Wrong(wrong) => wrong,
            CheckError::Unread(refused) => {
                self.unread.replace(Some(refused.clone()));
                self.poisoned_at.set(store.poisoned().map(|_| store.durable()));
                refused
            }
        })?;
        self.carried.set(model.is_any_carried(&store));
        let lost = self.model.borrow_mut().cut(recovered);
        self.durable.set(store.durable());
        self.store.replace(Some(store.clone()));
        self.recovered.set(Some(recovered));

        self.check_retention(&store)?;

        let (resends, pace) = self.script.resends;
        let again = lost.into_iter().take(resends).map(|plan| (plan, pace));
        let plans: Vec<_> = again.chain(self.script.plans.iter().cloned()).collect();
        let mut held = None;
        for (number, (plan, pace)) in plans.iter().enumerate() {
            if number == plans.len() / 2 {
                held = HeldRead::plan(&store);
            }
            match pace {
                Pace::Next => {}
                Pace::Sleep(duration) => env.sleep(*duration).await,
                Pace::Durable => settle(&store, &self.last_ticket(), &progress).await,
            }
            if !self.append(&env, &store, plan).await? {
                return Ok(());
            }
        }
        if self.script.settles {
            settle(&store, &self.last_ticket(), &progress).await;
        }
        if let Some(held) = held {
            held.read(&store).await?;
        }
        if self.script.closes {
            store
                .close()
                .await
                .map_err(|error| format!("close: {error}"))
                .or_else(|error| if store.poisoned().is_some() { Ok(()) } else { Err(error) })?;
        }
        Ok(())
    }

    /// Appends a batch; false if the log has been poisoned.
    async fn append(&self, env: &SimEnv, store: &Store<SimEnv>, plan: &Plan) -> Result<bool, String> {
        let mut batch = Batch::default();
        for _ in 0..REFUSALS_MAX {
            plan.fill(store, &mut batch);
            match store.append(&mut batch) {
                Ok(_) if store.poisoned().is_some() => return Err("a poisoned log accepted a batch".into()),
                Ok(appended) => {
                    self.model.borrow_mut().accept(plan.clone(), &batch, appended);
                    return Ok(true);
                }
                Err(AppendError::Poisoned(_)) => return Ok(false),
                // Refused for good, and nothing was changed: the next check would show it.
                Err(AppendError::TooLarge { .. }) => return Ok(true),
                Err(
                    AppendError::Busy { .. } | AppendError::DiskFull | AppendError::DiskNearlyFull { .. },
                ) => {
                    env.sleep(REFUSED_PAUSE).await;
                }
                Err(error) => return Err(format!("append: {error}")),
            }
        }
        // A disk that stays full is no failure of the store.
        Ok(false)
    }

    /// Nothing retires while the log is not larger than it may be. One without a bound may have had one in an earlier life.
    fn check_retention(&self, store: &Store<SimEnv>) -> Result<(), String> {
        let StoreOptions { segment_bytes, retention, .. } = &self.script.options;
        let (start, end) = (store.log_bounds().0.0, store.durable().0);
        let too_early = retention.bytes_max.is_some_and(|max| end - start + segment_bytes <= max);
        if start > 0 && too_early {
            return Err(format!("the log begins at {start} and ends at {end}: a segment retired too early"));
        }
        Ok(())
    }

    fn last_ticket(&self) -> Ticket {
        self.model.borrow().last_ticket()
    }

    fn look(&self) -> Result<(), String> {
        let store = self.store.borrow();
        let Some(store) = store.as_ref() else { return Ok(()) };
        let durable = store.durable();
        if durable < self.durable.replace(durable) {
            return Err(format!("the watermark went back to {durable:?}"));
        }
        match self.poisoned_at.get() {
            None if store.poisoned().is_some() => self.poisoned_at.set(Some(durable)),
            Some(at) if at != durable => {
                return Err(format!("the watermark of a poisoned log moved from {at:?} to {durable:?}"));
            }
            _ => {}
        }
        if let Some(found) = keyed::newest(store).filter(|found| found.0 >= durable.0) {
            return Err(format!("a record at {found:?} is found by its key, {durable:?} is durable"));
        }
        let model = self.model.borrow();
        let answered = model.answered(durable);
        for (queue, (topic, queue_id)) in QUEUES.into_iter().enumerate() {
            let Some(at) = store.find_queue(topic, queue_id) else { continue };
            let (_, visible) = store.bounds(at);
            let durable = model.queue_len(queue, answered);
            if visible.0 > durable {
                return Err(format!("{topic}/{queue_id} shows {} records, {durable} are durable", visible.0));
            }
        }
        Ok(())
    }
}

/// A read that was planned and is not made yet. Nothing of it is read before: it would stay in memory.
struct HeldRead {
    pieces: Vec<Piece<SimEnv>>,
}

impl HeldRead {
    /// Plans to read the oldest records of a queue.
    fn plan(store: &Store<SimEnv>) -> Option<HeldRead> {
        let (topic, queue_id) = QUEUES[0];
        let queue = store.find_queue(topic, queue_id)?;
        let budget = ReadBudget { records_max: 3, bytes_max: 64 * 1024, entries_max: 3 };
        Some(HeldRead { pieces: store.read(queue, store.bounds(queue).0, budget, |_| true).pieces })
    }

    /// Each record's checksum, which the plan names, tells whether it is the one that was planned.
    async fn read(mut self, store: &Store<SimEnv>) -> Result<(), String> {
        match store.fetch(&mut self.pieces).await {
            Ok(()) => Ok(()),
            // The disk may fail, but not because the file has gone.
            Err(ReadError::Io { error, .. }) if !error.contains("not found") => Ok(()),
            Err(error) => Err(format!("a planned read: {error}")),
        }
    }
}

/// Returns once the ticket is durable, or never will be.
async fn settle(store: &Store<SimEnv>, ticket: &Ticket, progress: &Signal) {
    while store.durable() < *ticket && store.poisoned().is_none() {
        progress.wait().await;
    }
}
