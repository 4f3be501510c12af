//! How far a long campaign is: a bar on a terminal, and elsewhere a line every few seconds. On standard error: the
//! table goes elsewhere.

use std::fmt::Display;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines, where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module.
pub struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    began: Instant,
    shown: Instant,
}

impl Progress {
    /// Towards so many.
    pub fn new(unit: &'static str, count: u64) -> Progress {
        let template = "{elapsed:>4} {wide_bar} {human_pos} of {human_len} {msg}, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let now = Instant::now();
        Progress { bar: ProgressBar::new(count).with_style(style), unit, began: now, shown: now }
    }

    /// So many are done; `more` says what else there is to say.
    pub fn show(&mut self, done: u64, more: impl Display) {
        let rate = done as f64 / self.began.elapsed().as_secs_f64();
        let message = format!("{}, {rate:.0}/s, {more}", self.unit);
        if self.bar.is_hidden() && self.shown.elapsed() >= PAUSE {
            self.shown = Instant::now();
            eprintln!("{done:>9} {message}");
        }
        self.bar.set_position(done);
        self.bar.set_message(message);
    }

    /// Nothing more comes: the bar goes.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
