//! `ringmq log`: a look into log files, without a server. Nothing is changed; what is repaired is a copy.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use ringmq_engine::log::dump::{Source, dump};
use ringmq_engine::log::segment;
use ringmq_engine::log::verify::{VerifyReport, verify_names};
use ringmq_engine::sidecar;
use serde_json::json;

use super::exit::Exit;
use super::progress::Files;
use super::repair;

/// What can be asked about log files.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print the frames, records and facts of a segment file, or what a sidecar holds.
    #[command(after_help = "Example:\n  ringmq log dump ringmq-data/shard-0/00000000000000000000.log | less")]
    Dump {
        /// The segment file (.log) or sidecar (.side).
        file: PathBuf,
    },
    /// Check every byte of a data folder, or of one shard's folder in it. Stop the server first: what it is
    /// writing looks damaged.
    #[command(after_help = "Exit code 0: whole. 1: damaged, or unreadable.\n\n\
        Example:\n  ringmq log verify ringmq-data --format json")]
    Verify {
        /// The data folder, or the folder of one shard.
        folder: PathBuf,
        /// How to print what was found.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Write a copy of a damaged shard folder that opens: everything but what lay in damaged frames. In the place of a
    /// record that is lost is a message whose body says so, and whose property RINGMQ_LOST is true. Where too much is
    /// damaged for that, the copy ends at the first damage. Nothing is changed in the folder itself.
    #[command(
        after_help = "Stop the server first. Then, to use the copy, move the damaged folder away and the copy to \
        its place.\n\nExample:\n  ringmq log repair ringmq-data/shard-0 repaired/shard-0"
    )]
    Repair {
        /// The folder of one shard.
        folder: PathBuf,
        /// Where the copy goes; must not be there yet.
        copy: PathBuf,
    },
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Does it.
pub fn run(command: &LogCommand) -> ExitCode {
    let done = match command {
        LogCommand::Dump { file } => dump_file(file).map_err(|error| (file, error)),
        LogCommand::Verify { folder, format } => {
            verify_folders(folder, *format).map_err(|error| (folder, error))
        }
        LogCommand::Repair { folder, copy } => match repair::repair(folder, copy) {
            Ok(repaired) => {
                println!("{repaired}");
                Ok(true)
            }
            Err(error) => Err((folder, error)),
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => Exit::Failed.into(),
        // A reader that has seen enough (`| head`) is no failure worth a message.
        Err((_, error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err((path, error)) => {
            eprintln!("error: {}: {error}", path.display());
            Exit::Failed.into()
        }
    }
}

fn dump_file(file: &Path) -> io::Result<bool> {
    let mut out = BufWriter::new(io::stdout().lock());
    if file.extension().is_some_and(|extension| extension == "side") {
        sidecar::dump::dump_bytes(Box::new(std::fs::read(file)?), &mut out)?;
    } else {
        dump(file, &mut out)?;
    }
    out.flush()?;
    Ok(true)
}

/// Whether everything is whole.
fn verify_folders(folder: &Path, format: Format) -> io::Result<bool> {
    let mut reports = Vec::new();
    for shard in shard_folders(folder)? {
        let mut report = verify_log(&shard)?;
        let names = names(&shard)?;
        let files =
            Files::new("checking", names.iter().filter(|name| sidecar::base_of(name).is_some()).count());
        let open = |name: &str| -> io::Result<Box<dyn Source>> {
            if sidecar::base_of(name).is_some() {
                files.next(name);
            }
            Ok(Box::new(std::fs::File::open(shard.join(name))?))
        };
        let (sidecars, findings) = sidecar::verify::verify_names(&names, open)?;
        report.sidecars = sidecars;
        report.findings.extend(findings);
        reports.push((shard, report));
    }
    let text = match format {
        Format::Text => reports.iter().map(|(folder, report)| text(folder, report)).collect(),
        Format::Json => json_text(&reports),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(reports.iter().all(|(_, report)| report.is_whole()))
}

/// What is in the segments of a shard's folder.
pub(super) fn verify_log(shard: &Path) -> io::Result<VerifyReport> {
    let names = names(shard)?;
    let files = Files::new("checking", names.iter().filter(|name| segment::base_of(name).is_some()).count());
    verify_names(&names, |name| {
        if segment::base_of(name).is_some() {
            files.next(name);
        }
        Ok(Box::new(std::fs::File::open(shard.join(name))?))
    })
}

/// The names of all files in a folder, sorted.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The folders of a data folder's shards, in order; a folder that has none is a shard's itself.
fn shard_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("shard-")).map(str::parse::<usize>);
        if let (Some(Ok(number)), true) = (number, entry.file_type()?.is_dir()) {
            shards.push((number, entry.path()));
        }
    }
    shards.sort();
    if shards.is_empty() {
        return Ok(vec![folder.to_owned()]);
    }
    Ok(shards.into_iter().map(|(_, path)| path).collect())
}

fn text(folder: &Path, report: &VerifyReport) -> String {
    let VerifyReport { segments, sidecars, frames, records, fact_changes, end, torn_at, findings } = report;
    let verdict = if report.is_whole() { "whole" } else { "DAMAGED" };
    let mut text = format!(
        "{}: {verdict}; {segments} segments, {sidecars} sidecars, {frames} frames, {records} records, \
         {fact_changes} changes of facts, end at {end}\n",
        folder.display()
    );
    if let Some(at) = torn_at {
        let _ = writeln!(text, "  a torn tail begins at {at}; the next start cuts it");
    }
    for finding in findings {
        let _ = writeln!(text, "  {} at {}: {}", finding.file, finding.position, finding.what);
    }
    if findings.iter().any(|finding| segment::base_of(&finding.file).is_some()) {
        let folder = folder.display();
        let _ = writeln!(
            text,
            "  restore the .log files from a copy, or make one of all that is whole: ringmq log repair {folder} COPY"
        );
    }
    text
}

fn json_text(reports: &[(PathBuf, VerifyReport)]) -> String {
    let folders: Vec<_> = reports
        .iter()
        .map(|(folder, report)| {
            let findings: Vec<_> = report
                .findings
                .iter()
                .map(|finding| json!({"file": finding.file, "position": finding.position, "what": finding.what}))
                .collect();
            json!({
                "folder": folder.display().to_string(),
                "whole": report.is_whole(),
                "segments": report.segments,
                "sidecars": report.sidecars,
                "frames": report.frames,
                "records": report.records,
                "fact_changes": report.fact_changes,
                "end": report.end,
                "torn_at": report.torn_at,
                "findings": findings,
            })
        })
        .collect();
    format!("{}\n", json!({ "folders": folders }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_engine::log::verify::Finding;

    fn damaged() -> VerifyReport {
        let file = segment::file_name(0);
        let finding = Finding { file, position: 4096, what: "bad checksum".to_owned() };
        VerifyReport {
            segments: 1,
            frames: 2,
            torn_at: Some(8192),
            findings: vec![finding],
            ..VerifyReport::default()
        }
    }

    #[test]
    fn findings_are_named_for_people_and_programs() {
        assert_eq!(
            text(Path::new("d"), &damaged()),
            "d: DAMAGED; 1 segments, 0 sidecars, 2 frames, 0 records, 0 changes of facts, end at 0\n  \
             a torn tail begins at 8192; the next start cuts it\n  \
             00000000000000000000.log at 4096: bad checksum\n  restore the .log files from a copy, or make one of all \
             that is whole: ringmq log repair d COPY\n"
        );
        let printed =
            json_text(&[(PathBuf::from("d"), damaged()), (PathBuf::from("e"), VerifyReport::default())]);
        let read: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(read["folders"][0]["findings"][0]["position"], 4096);
        assert_eq!(read["folders"][1]["whole"], true);
    }

    #[test]
    fn a_data_folder_is_its_shards_and_a_shard_is_itself() {
        let folder = std::env::temp_dir().join(format!("ringmq-log-files-{}", std::process::id()));
        for shard in ["shard-10", "shard-2", "other"] {
            std::fs::create_dir_all(folder.join(shard)).unwrap();
        }
        let found = shard_folders(&folder).unwrap();
        assert_eq!(found, [folder.join("shard-2"), folder.join("shard-10")]);
        let itself = shard_folders(&folder.join("other")).unwrap();
        assert_eq!(itself, [folder.join("other")]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(shard_folders(&folder).is_err());
    }
}
