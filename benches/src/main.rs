//! `ringmq-bench`: the harness as a program of its own. See the library for what it does.

use clap::Parser;
use ringmq_bench::commands::Bench;
use std::process::ExitCode;

/// An honest latency harness for RocketMQ brokers.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    bench: Bench,
}

fn main() -> ExitCode {
    CommandLine::parse().bench.run()
}
