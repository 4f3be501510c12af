//! The binary as a process: killed, stopped, fed with nonsense, started where it cannot start.
//!
//! The requests here are written by hand, not by our own codecs, so that a mistake in those cannot hide.
//!
//! `RINGMQ_E2E_KILLS` sets the number of kills (5), `RINGMQ_E2E_SEED` repeats a run's random choices.

mod alone;
mod busy;
mod kill;
mod malformed;
mod repair;
mod start;
mod stop;
