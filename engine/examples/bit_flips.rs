//! The long campaign of flipped bits and lost files, with a table at the end.
//!
//! `cargo run -p ringmq-engine --release --features planted-bugs --example bit_flips -- --flips 100000 --seed 1`
//!
//! `--flips N` is how many bits are flipped, at least (100,000). The other arguments, and how it ends: `campaign`.

mod campaign;

use std::process::ExitCode;

use campaign::{Arguments, Campaign, print_rows};
use ringmq_engine::testing::rot::{Scope, Tally, run};

fn main() -> ExitCode {
    let campaign = Campaign { name: "bit_flips", unit: "flips", count: 100_000, may_retain: false };
    campaign.main(
        |arguments, progress| {
            let scope = Scope {
                first_workload: arguments.first_workload(),
                workloads_max: arguments.workloads_max(),
                ..Scope::flips(arguments.seed, arguments.count)
            };
            run(&scope, |tally| progress.show(tally.flipped(), format_args!("{} workloads", tally.workloads)))
        },
        print_table,
    )
}

fn print_table(arguments: &Arguments, tally: &Tally) {
    println!("| seed {} | damages | refused | not read | harmless |", arguments.seed);
    println!("| --- | ---: | ---: | ---: | ---: |");
    let Tally { flips, losses, foreign, .. } = tally;
    for (what, by_kind) in [("a bit flipped in", flips), ("lost:", losses), ("of another history:", foreign)]
    {
        for (kind, outcomes) in by_kind {
            let (refused, unread, harmless) = (outcomes.refused, outcomes.unread, outcomes.harmless);
            println!("| {what} `{kind}` | {} | {refused} | {unread} | {harmless} |", outcomes.count());
        }
    }
    println!();
    println!("| | |");
    println!("| --- | ---: |");
    print_rows(&[("workloads", tally.workloads), ("bits flipped", tally.flipped())]);
}
