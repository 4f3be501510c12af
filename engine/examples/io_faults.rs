//! The long campaign of failing operations, with a table at the end.
//!
//! `cargo run -p ringmq-engine --release --features planted-bugs --example io_faults -- --lives 80000 --seed 1`
//!
//! `--lives N` is in how many lives one operation fails, at least (80,000); those of the flush probe are not counted. The
//! other arguments, and how it ends: `campaign`.

mod campaign;

use std::process::ExitCode;

use campaign::{Arguments, Campaign, print_rows};
use ringmq_engine::testing::io_fault::{Outcomes, Scope, Tally, run};

fn main() -> ExitCode {
    let campaign = Campaign { name: "io_faults", unit: "lives", count: 80_000, may_retain: false };
    campaign.main(
        |arguments, progress| {
            let scope = Scope {
                first_workload: arguments.first_workload(),
                workloads_max: arguments.workloads_max(),
                ..Scope::lives(arguments.seed, arguments.count)
            };
            run(&scope, |tally| {
                progress.show(tally.total().lives(), format_args!("{} workloads", tally.workloads))
            })
        },
        print_table,
    )
}

fn print_table(arguments: &Arguments, tally: &Tally) {
    println!(
        "| seed {}: what failed | EIO | ENOSPC | short | stall | refused | not read | poisoned | went on |",
        arguments.seed
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (kind, outcomes) in &tally.outcomes {
        print_outcomes(&format!("{kind:?}"), outcomes);
    }
    print_outcomes("**all**", &tally.total());
    print_outcomes("any, of the flush probe (not counted)", &tally.of_the_probe);
    println!();
    println!("| | |");
    println!("| --- | ---: |");
    print_rows(&[
        ("workloads", tally.workloads),
        ("lives in which one operation failed", tally.total().lives()),
        ("batches answered in them", tally.answered),
    ]);
}

fn print_outcomes(name: &str, outcomes: &Outcomes) {
    let Outcomes { by_fault: [eio, enospc, short, stall], refused, unread, poisoned, went_on } = outcomes;
    println!(
        "| {name} | {eio} | {enospc} | {short} | {stall} | {refused} | {unread} | {poisoned} | {went_on} |"
    );
}
