//! A report as text.

use super::{Bar, Fact, Ratio, Report, Round, plot};
use crate::disk::DiskSpeed;
use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write;

/// The whole report.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let machine = &report.machine;
    let _ = writeln!(out, "{}", report.command);
    let _ = writeln!(
        out,
        "{} cores of {}, {} MiB, Linux {}, {}; load before: {}",
        machine.cores,
        machine.processor,
        machine.memory_mib,
        machine.kernel,
        machine.file_system,
        machine.load_before
    );
    if let Some(disk) = &report.disk {
        let _ = writeln!(out, "{}", disk_line(disk));
    }
    if let Some(ceiling) = &report.ceiling {
        let _ =
            writeln!(out, "generator, against a server that does nothing: {:.0} sends/s", ceiling.per_second);
    }
    if !report.rounds.is_empty() {
        let _ = writeln!(out, "{}", rounds(&report.rounds));
        for round in best_of_each(&report.rounds) {
            let _ = writeln!(
                out,
                "latency of {}, {}:\n{}",
                round.server,
                round.load,
                plot::plot(&round.histogram)
            );
        }
    }
    for round in report.rounds.iter().filter(|round| round.void.is_some()) {
        let why = round.void.as_deref().unwrap_or_default();
        let _ = writeln!(out, "void: {}, {}: {why}", round.server, round.load);
    }
    if !report.ratios.is_empty() {
        let _ = writeln!(out, "{}", ratios(&report.ratios));
    }
    if !report.facts.is_empty() {
        let _ = writeln!(out, "{}", facts(&report.facts));
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    if !report.bars.is_empty() {
        let _ = writeln!(out, "{}", bars(&report.bars));
    }
    out
}

fn disk_line(disk: &DiskSpeed) -> String {
    let fio = disk.fio_per_second.map_or("fio is not installed".into(), |rate| format!("fio {rate:.0}/s"));
    format!(
        "disk, 4 KiB write + fdatasync: {:.0}/s, p50 {:.0} µs, p99 {:.0} µs; {fio}",
        disk.per_second, disk.p50_us, disk.p99_us
    )
}

fn rounds(rounds: &[Round]) -> Table {
    let mut table = table(&[
        "server",
        "load",
        "messages/s",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "max µs",
        "silence µs",
        "overslept µs",
        "core µs",
        "write µs",
        "beat µs",
        "CPU µs/msg",
        "CPU",
        "switches/msg",
        "written B/msg",
        "gen. CPU",
        "anon MiB",
        "refused",
    ]);
    for round in rounds {
        let cost = |of: fn(&super::ServerCost) -> f64, digits| {
            round.cost.as_ref().map_or("-".into(), |cost| format!("{:.digits$}", of(cost)))
        };
        let said = |number: Option<u64>| number.map_or("-".into(), |number| number.to_string());
        table.add_row(vec![
            round.server.clone(),
            round.load.clone(),
            format!("{:.0}", round.per_second),
            format!("{:.0}", round.latency.p50_us),
            format!("{:.0}", round.latency.p99_us),
            format!("{:.0}", round.latency.p999_us),
            format!("{:.0}", round.latency.max_us),
            format!("{:.0}", round.longest_silence_us),
            format!("{:.0}", round.longest_oversleep_us),
            format!("{:.0}", round.longest_core_delay_us),
            said(round.longest_write_us),
            said(round.longest_heartbeat_delay_us),
            cost(|cost| cost.cpu_us_per_message, 2),
            cost(|cost| cost.cpu, 2),
            cost(|cost| cost.switches_per_message, 2),
            cost(|cost| cost.written_bytes_per_message, 0),
            format!("{:.2}", round.generator_cpu),
            cost(|cost| cost.rss_anon_mib, 0),
            round.refused.to_string(),
        ]);
    }
    align(&mut table, 2);
    table
}

fn ratios(ratios: &[Ratio]) -> Table {
    let mut table = table(&["load", "metric", "a / b", "a", "b", "a / b", "95 % interval", "demanded", ""]);
    for ratio in ratios {
        let verdict = ratio.is_cleared.map_or("", |cleared| if cleared { "cleared" } else { "MISSED" });
        table.add_row(vec![
            ratio.load.clone(),
            ratio.metric.clone(),
            format!("{} / {}", ratio.a, ratio.b),
            number(ratio.a_median),
            number(ratio.b_median),
            number(ratio.median),
            format!("{} to {}", number(ratio.low), number(ratio.high)),
            ratio.demanded.clone().unwrap_or_default(),
            verdict.to_owned(),
        ]);
    }
    align(&mut table, 3);
    table
}

fn facts(facts: &[Fact]) -> Table {
    let mut table = table(&["", "", ""]);
    for fact in facts {
        table.add_row(vec![fact.name.clone(), number(fact.value), fact.unit.to_owned()]);
    }
    align(&mut table, 1);
    table
}

fn bars(bars: &[Bar]) -> Table {
    let mut table = table(&["bar", "demanded", "measured", "unit", ""]);
    for bar in bars {
        table.add_row(vec![
            bar.name.clone(),
            format!("{} {}", bar.bound.sign(), number(bar.demanded)),
            bar.measured.map_or("-".into(), number),
            bar.unit.to_owned(),
            (if bar.is_cleared() { "cleared" } else { "MISSED" }).to_owned(),
        ]);
    }
    align(&mut table, 1);
    table
}

/// The fastest round of each server and load, in the order of their first ones: the one that others disturbed least.
fn best_of_each(rounds: &[Round]) -> Vec<&Round> {
    let mut best: Vec<&Round> = Vec::new();
    for round in rounds {
        match best.iter_mut().find(|kept| kept.server == round.server && kept.load == round.load) {
            None => best.push(round),
            Some(kept) if kept.per_second < round.per_second => *kept = round,
            Some(_) => {}
        }
    }
    best
}

/// As many digits as anybody reads.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        small if small >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    if header.iter().any(|title| !title.is_empty()) {
        table.set_header(header.to_vec());
    }
    table
}

/// Columns from `first` on hold numbers.
fn align(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
