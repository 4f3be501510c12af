//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringmq_server::cli::run()
}
