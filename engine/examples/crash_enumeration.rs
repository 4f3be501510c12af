//! The long crash enumeration, with a table at the end.
//!
//! `cargo run -p ringmq-engine --release --features planted-bugs --example crash_enumeration -- --states 1000000 --seed 1`
//!
//! `--states N` is how many disks are recovered, at least (1,000,000). The other arguments, and how it ends: `campaign`.

mod campaign;

use std::process::ExitCode;

use campaign::{Arguments, Campaign, print_rows};
use ringmq_engine::testing::crash::{Scope, Tally, run};

fn main() -> ExitCode {
    let campaign = Campaign { name: "crash_enumeration", unit: "states", count: 1_000_000, may_retain: true };
    campaign.main(
        |arguments, progress| {
            let scope = Scope {
                first_workload: arguments.first_workload(),
                workloads_max: arguments.workloads_max(),
                retains: arguments.retains,
                ..Scope::long(arguments.seed, arguments.count)
            };
            run(&scope, |tally| progress.show(tally.states, format_args!("{} workloads", tally.workloads)))
        },
        print_table,
    )
}

fn print_table(arguments: &Arguments, tally: &Tally) {
    println!("| seed {} | |", arguments.seed);
    println!("| --- | ---: |");
    print_rows(&[
        ("workloads", tally.workloads),
        ("points (moments at which a crash was put)", tally.points),
        ("points with all subsets of what was pending", tally.exhaustive),
        ("most units pending at a point", tally.units_max as u64),
        ("states (disks recovered and checked)", tally.states),
        ("first crashes that tore a write", tally.torn),
        ("recoveries that found less than was appended", tally.lost_some),
        ("recoveries that found more than was answered", tally.kept_more),
        ("recoveries over more than one segment", tally.rolled),
        ("recoveries after segments retired", tally.retired),
        ("recoveries that found what was carried forward", tally.carried),
        ("crashes inside recovery", tally.in_recovery),
        ("crashes after a recovery", tally.after_recovery),
    ]);
}
