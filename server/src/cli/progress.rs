//! How far a long look at many files is: a bar on a terminal, nothing elsewhere. On standard error: answers go to standard
//! output.

use indicatif::{ProgressBar, ProgressStyle};

/// Files that are gone through one after the other. The bar goes when it is dropped.
pub struct Files(ProgressBar);

impl Files {
    /// So many, of which `doing` says what is done to them.
    pub fn new(doing: &'static str, count: usize) -> Files {
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos} of {len} {msg}, {eta} left");
        let bar = ProgressBar::new(count as u64).with_prefix(doing);
        Files(bar.with_style(style.expect("the template is well-formed")))
    }

    /// This one comes now.
    pub fn next(&self, name: &str) {
        self.0.set_message(name.to_owned());
        self.0.inc(1);
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
