//! Apache's broker from Maven Central: its jars in one folder, fetched once.
//!
//! The release is the one that the compatibility tests take as their referee.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const POM: &str = include_str!("../../../tests/compat/apache/pom.xml");
/// Beside the jars when all of them are there.
const COMPLETE: &str = ".complete";

/// The folder of the jars: the given one, or one in the user's cache, which is filled if it is not.
pub fn of_apache(given: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).unwrap_or_else(std::env::temp_dir);
    let folder = cache.join("ringmq").join(format!("apache-rocketmq-{}", release()));
    if !folder.join(COMPLETE).exists() {
        fetch(&folder)?;
    }
    Ok(folder)
}

/// Which release of Apache's broker it is.
pub fn release() -> &'static str {
    let between = POM.split_once("<rocketmq.version>").and_then(|(_, rest)| rest.split_once('<'));
    between.map_or("unknown", |(release, _)| release)
}

fn fetch(folder: &Path) -> io::Result<()> {
    eprintln!("fetching Apache's broker {} with Maven …", release());
    fs::create_dir_all(folder)?;
    fs::write(folder.join("pom.xml"), POM)?;
    let output = Command::new("mvn")
        .current_dir(folder)
        .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("mvn: {error}; install Maven, or name the folder of the jars"),
            )
        })?;
    if !output.status.success() {
        return Err(io::Error::other(format!("mvn: {}", String::from_utf8_lossy(&output.stdout).trim())));
    }
    fs::write(folder.join(COMPLETE), release())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_release_is_the_compatibility_tests_one() {
        assert!(super::release().starts_with("5."), "{}", super::release());
    }
}
