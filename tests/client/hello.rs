//! The program of the README, as a user would have it: a package of its own that depends on the client, built from nothing,
//! and run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::compat::build::root;
use crate::compat::process::{Process, run};
use crate::compat::site::Folder;

const BUILD_PATIENCE: Duration = Duration::from_secs(600);
const RUN_PATIENCE: Duration = Duration::from_secs(60);

/// Crates that compile C, or look for C libraries.
const C_CRATES: [&str; 5] = ["cc", "cmake", "bindgen", "pkg-config", "vcpkg"];

/// The package, and what building it took.
pub struct Hello {
    program: PathBuf,
    /// From nothing, with default features.
    pub wall: Duration,
    /// Of all cores together.
    pub cpu: Duration,
    /// Crates in it, its own not counted.
    pub crates: BTreeSet<String>,
    _folder: Folder,
}

/// The README's first Rust block.
pub fn in_the_readme() -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README is there");
    let (_, after) = readme.split_once("```rust\n").expect("the README has a Rust program");
    after.split_once("```").expect("the block ends").0.to_owned()
}

/// The same program as the crate page includes.
pub fn on_the_crate_page() -> String {
    fs::read_to_string(root().join("client/examples/hello.rs")).expect("the example is there")
}

impl Hello {
    /// Builds the README's program for the name server at `address`.
    pub fn build(address: &str) -> Hello {
        let folder = Folder::new("hello");
        let program = in_the_readme();
        assert!(program.contains("127.0.0.1:9876"), "{program}");
        let client = root().join("client");
        let manifest = format!(
            "[package]\nname = \"hello\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\nringmq-client = {{ path = {client:?} }}\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"rt\"] }}\n"
        );
        fs::create_dir_all(folder.path.join("src")).expect("target/ can be written");
        fs::write(folder.path.join("Cargo.toml"), manifest).expect("target/ can be written");
        fs::write(folder.path.join("src/main.rs"), program.replace("127.0.0.1:9876", address))
            .expect("target/ can be written");
        // The versions that the project is tested with.
        fs::copy(root().join("Cargo.lock"), folder.path.join("Cargo.lock")).expect("target/ can be written");
        let cargo = |arguments: &[&str]| {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            cargo.current_dir(&folder.path).env("CARGO_TARGET_DIR", folder.path.join("target"));
            cargo.args(arguments);
            cargo
        };
        run("cargo fetch", &mut cargo(&["fetch", "--quiet"]), BUILD_PATIENCE);
        let (began, cpu_before) = (Instant::now(), children_cpu());
        run("cargo build", &mut cargo(&["build", "--quiet", "--offline"]), BUILD_PATIENCE);
        let (wall, cpu) = (began.elapsed(), children_cpu().saturating_sub(cpu_before));
        let arguments =
            ["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
        let tree = run("cargo tree", &mut cargo(&arguments), BUILD_PATIENCE);
        let names = tree.iter().filter_map(|line| line.split(' ').next()).filter(|name| *name != "hello");
        let crates = names.map(str::to_owned).collect();
        Hello { program: folder.path.join("target/debug/hello"), wall, cpu, crates, _folder: folder }
    }

    /// Runs it until it has printed its own message.
    pub fn run(&self) {
        let mut process = Process::start("hello", &mut Command::new(&self.program));
        process.expect_line("hello, world", RUN_PATIENCE);
    }

    /// Crates of it that have to do with C.
    pub fn c(&self) -> Vec<&str> {
        C_CRATES.into_iter().filter(|name| self.crates.contains(*name)).collect()
    }
}

/// Whether a crate of ours forbids `unsafe`.
pub fn forbids_unsafe(library: &Path) -> bool {
    let text = fs::read_to_string(root().join(library)).expect("the library is there");
    text.lines().any(|line| line == "#![forbid(unsafe_code)]")
}

/// CPU time of all children that have ended and been waited for.
fn children_cpu() -> Duration {
    // SAFETY: `usage` is a plain value that the call fills.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
