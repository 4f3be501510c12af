//! `ringmq man`: manual pages, made from the same definitions as `--help`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};

use super::errors;
use super::exit::Exit;
use super::paint::Paint;
use super::print;

/// Which pages.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringmq man | man -l -
  ringmq man config show | man -l -
  ringmq man --folder /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The command; without one, ringmq itself.
    command: Vec<String>,
    /// Write the pages of all commands into this folder, as ringmq-config-show.1.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    folder: Option<PathBuf>,
}

/// Prints a page, or writes all.
pub fn run(args: &ManArgs, mut root: Command) -> ExitCode {
    root.build();
    if let Some(folder) = &args.folder {
        return match write_all(&root, folder) {
            Ok(pages) => print(&format!("{pages} pages in {}\n", folder.display())),
            Err(error) => {
                let problem = format!("{}: {error}", folder.display());
                let remedy = "Create the folder, or name one that you may write to.";
                eprint!("{}", errors::message("error", None, &problem, remedy, Paint::of_stderr()));
                Exit::Failed.into()
            }
        };
    }
    match find(&root, &args.command) {
        Some(command) => print(&page(command)),
        None => {
            let problem = format!("there is no command {}", args.command.join(" "));
            let remedy = "`ringmq --help` lists them.";
            eprint!("{}", errors::message("error", None, &problem, remedy, Paint::of_stderr()));
            Exit::NotFound.into()
        }
    }
}

fn find<'a>(root: &'a Command, names: &[String]) -> Option<&'a Command> {
    names.iter().try_fold(root, |command, name| command.find_subcommand(name))
}

fn page(command: &Command) -> String {
    let mut page = Vec::new();
    let command = command.clone().display_name(title(command));
    clap_mangen::Man::new(command).render(&mut page).expect("memory can be written to");
    String::from_utf8_lossy(&page).into_owned()
}

/// `ringmq-config-show`, as manual pages of subcommands are called.
pub(super) fn title(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-")
}

/// The number of pages.
fn write_all(command: &Command, folder: &Path) -> io::Result<usize> {
    std::fs::write(folder.join(format!("{}.1", title(command))), page(command))?;
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    shown.map(|below| write_all(below, folder)).sum::<io::Result<usize>>().map(|below| below + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Command {
        let show = Command::new("show").about("Print values.");
        let mut root = Command::new("ringmq").subcommand(Command::new("config").subcommand(show));
        root.build();
        root
    }

    #[test]
    fn a_page_is_found_by_its_command_and_named_after_it() {
        let root = root();
        let names = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let show = find(&root, &names(&["config", "show"])).expect("there");
        assert!(page(show).contains("ringmq\\-config\\-show \\- Print values."), "{}", page(show));
        assert_eq!(title(find(&root, &[]).expect("itself")), "ringmq");
        assert!(find(&root, &names(&["config", "shw"])).is_none());
    }

    #[test]
    fn all_pages_are_written() {
        let folder = std::env::temp_dir().join(format!("ringmq-man-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(write_all(&root(), &folder).unwrap(), 3);
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|one| one.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ringmq-config-show.1", "ringmq-config.1", "ringmq.1"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
