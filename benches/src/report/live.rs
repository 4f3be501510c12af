//! A line on stderr that says how a round goes, while it goes.
//!
//! It is printed only where stderr is a terminal, and by a thread of its own: a terminal that blocks must not stop the
//! generator, which would then measure the terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// From one line to the next.
const EVERY: Duration = Duration::from_secs(1);

/// The line of one round; it ends when this is dropped.
pub struct Live {
    what: String,
    printer: Option<(Sender<String>, JoinHandle<()>)>,
    said: Instant,
    messages: u64,
}

impl Live {
    /// Begins the line. Without a terminal, that is all that is said.
    pub fn begin(what: String) -> Live {
        let printer = io::stderr().is_terminal().then(|| {
            let (sender, lines) = mpsc::channel::<String>();
            let thread = thread::spawn(move || {
                for line in lines {
                    // A terminal that is gone is no reason to stop measuring.
                    let _ = write!(io::stderr(), "\r{line}\x1b[K");
                }
                let _ = writeln!(io::stderr());
            });
            (sender, thread)
        });
        if printer.is_none() {
            eprintln!("{what} …");
        }
        Live { what, printer, said: Instant::now(), messages: 0 }
    }

    /// So many messages were answered so far.
    pub fn note(&mut self, messages: u64) {
        let since = self.said.elapsed();
        if since < EVERY {
            return;
        }
        if let Some((printer, _)) = &self.printer {
            let rate = messages.saturating_sub(self.messages) as f64 / since.as_secs_f64();
            let _ = printer.send(format!("{}: {rate:.0} messages/s", self.what));
        }
        self.said = Instant::now();
        self.messages = messages;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.printer.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}
