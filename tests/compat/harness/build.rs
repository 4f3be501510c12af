//! Builds the client programs and fetches Apache's jars, once per source change.
//!
//! Everything built lies in `target/compat/`. What cannot be had is a panic: no client is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::process::run;

/// Registries may be slow the first time.
const PATIENCE: Duration = Duration::from_secs(600);

/// The releases of the Java client that are tested.
pub const JAVA_RELEASES: [&str; 3] = ["4.9.8", "5.3.3", "5.5.0"];

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

/// Where everything built for this suite lies.
pub fn built() -> PathBuf {
    root().join("target/compat")
}

fn sources(part: &str) -> PathBuf {
    root().join("tests/compat").join(part)
}

/// The folder with the jars of Apache's name server, broker and mqadmin.
pub fn apache() -> PathBuf {
    let jars = built().join("apache");
    if is_stale(&jars, &sources("apache")) {
        let mut maven = maven(&sources("apache"));
        maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        maven.arg(format!("-DoutputDirectory={}", jars.display()));
        run("mvn (Apache's broker)", &mut maven, PATIENCE);
        stamp(&jars);
    }
    jars
}

/// The class path of the Java client program for one release.
pub fn java(release: &str) -> String {
    let out = built().join(format!("java-{release}"));
    if is_stale(&out, &sources("java")) {
        let mut maven = maven(&sources("java"));
        maven.args(["package", "dependency:copy-dependencies"]);
        maven.arg(format!("-Drocketmq.version={release}"));
        maven.arg(format!("-Dcompat.out={}", out.display()));
        maven.arg(format!("-DoutputDirectory={}", out.join("lib").display()));
        run(&format!("mvn (client {release})"), &mut maven, PATIENCE);
        stamp(&out);
    }
    format!("{0}/client-1.jar:{0}/lib/*", out.display())
}

/// The Go client program.
pub fn go() -> PathBuf {
    let out = built().join("go-client");
    let mut go = Command::new("go");
    go.current_dir(sources("go")).args(["build", "-buildvcs=false", "-o"]).arg(&out).arg(".");
    run("go build", &mut go, PATIENCE);
    out
}

/// The Python interpreter that has the client library, and the program.
pub fn python() -> (PathBuf, PathBuf) {
    let place = built().join("python");
    let interpreter = place.join("bin/python3");
    if is_stale(&place, &sources("python/requirements.txt")) {
        run("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&place), PATIENCE);
        let mut pip = Command::new(&interpreter);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        run("pip install", pip.arg(sources("python/requirements.txt")), PATIENCE);
        stamp(&place);
    }
    (interpreter, sources("python/client.py"))
}

fn maven(project: &Path) -> Command {
    let mut maven = Command::new("mvn");
    maven.current_dir(project).args(["--quiet", "--batch-mode"]);
    maven
}

/// Whether anything under `sources` is newer than what was built from it.
fn is_stale(out: &Path, sources: &Path) -> bool {
    let built = fs::metadata(out.join("stamp")).and_then(|stamp| stamp.modified());
    built.map_or(true, |built| newest(sources) > built)
}

fn stamp(out: &Path) {
    fs::write(out.join("stamp"), "").expect("target/ can be written");
}

fn newest(path: &Path) -> SystemTime {
    let own = fs::metadata(path).and_then(|entry| entry.modified()).expect("sources can be read");
    let Ok(entries) = fs::read_dir(path) else { return own };
    entries.map(|entry| newest(&entry.expect("sources can be read").path())).fold(own, SystemTime::max)
}
