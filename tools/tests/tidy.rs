//! The project's rules about itself, as ordinary tests: arrows between packages, where the runtime may be
//! named, what rules must not touch.
//!
//! Each check is a function from a list of (path, text) to findings, so that the checks are tested too.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path from the root, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tools has a parent").to_path_buf()
}

fn sources(extension: &str) -> Vec<Source> {
    fn walk(folder: &Path, root: &Path, extension: &str, out: &mut Vec<Source>) {
        let mut entries: Vec<_> =
            fs::read_dir(folder).expect("folder is readable").map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "data" {
                    walk(&path, root, extension, out);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                let short =
                    path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
                out.push(Source { path: short, text: fs::read_to_string(&path).expect("source is UTF-8") });
            }
        }
    }
    let mut out = Vec::new();
    walk(&root(), &root(), extension, &mut out);
    assert!(out.len() > 3, "found only {} .{extension} files", out.len());
    out
}

/// Lines that mention `word` outside comments, in files that `applies` picks.
fn mentions(sources: &[Source], word: &str, applies: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| applies(&source.path)) {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(word) {
                found.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    found
}

fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn glommio_is_named_only_in_the_real_env_and_the_start_up() {
    let allowed = |path: &str| {
        path.starts_with("engine/src/env/glommio")
            || path == "engine/src/env/mod.rs"
            || path.starts_with("engine/tests/")
            || path.starts_with("server/src/shard/runtime")
            || path.starts_with("tools/")
    };
    none("glommio outside its places", mentions(&sources("rs"), "glommio::", |path| !allowed(path)));
}

#[test]
fn io_uring_is_named_only_in_the_ring() {
    let allowed = |path: &str| path.starts_with("net/conn/src/ring") || path.starts_with("tools/");
    none("io_uring outside the ring", mentions(&sources("rs"), "io_uring::", |path| !allowed(path)));
}

#[test]
fn rules_neither_wait_nor_look_at_the_world() {
    let rules = |path: &str| {
        path.starts_with("net/wire/src")
            || path.starts_with("server/src/broker")
            || path.starts_with("server/src/namesrv")
    };
    for word in [".await", "async fn", "Instant::now", "SystemTime", "std::fs", "std::net::Tcp", "thread::"] {
        let in_rules = |path: &str| rules(path) && !path.ends_with("testing.rs");
        none(&format!("`{word}` in a rule"), mentions(&sources("rs"), word, in_rules));
    }
}

#[test]
fn only_the_env_touches_files_in_the_engine() {
    let applies = |path: &str| {
        path.starts_with("engine/src")
            && !path.starts_with("engine/src/env")
            && !path.starts_with("engine/src/log/dump")
            && !path.starts_with("engine/src/log/verify")
    };
    for word in ["std::fs", "std::net", "Instant::now", "SystemTime::now", "std::thread"] {
        none(&format!("`{word}` in the engine outside env"), mentions(&sources("rs"), word, applies));
    }
}

#[test]
fn the_log_knows_neither_state_nor_sidecar() {
    let applies = |path: &str| path.starts_with("engine/src/log/");
    for word in ["crate::state", "crate::sidecar"] {
        none(&format!("`{word}` in the log"), mentions(&sources("rs"), word, applies));
    }
}

#[test]
fn packages_depend_only_along_the_arrows() {
    let forbidden: &[(&str, &[&str])] = &[
        ("net/wire/Cargo.toml", &["ringmq-conn", "ringmq-engine", "ringmq-server", "glommio", "tokio"]),
        ("net/conn/Cargo.toml", &["ringmq-engine", "ringmq-server", "glommio", "tokio"]),
        ("engine/Cargo.toml", &["ringmq-conn", "ringmq-server", "tokio"]),
        ("client/Cargo.toml", &["ringmq-engine", "ringmq-server", "glommio"]),
    ];
    for source in sources("toml") {
        for (path, words) in forbidden.iter().filter(|(path, _)| *path == source.path) {
            for word in *words {
                assert!(!source.text.contains(word), "{path} must not depend on {word}");
            }
        }
    }
}

#[test]
fn no_test_sleeps_or_is_skipped_and_nothing_is_left_to_do() {
    let everywhere = |path: &str| path != "tools/tests/tidy.rs";
    for word in ["#[ignore", "todo!(", "unimplemented!("] {
        none(&format!("`{word}`"), mentions(&sources("rs"), word, everywhere));
    }
    // A measurement may wait for a machine to settle; a test may not.
    let outside_measurements = |path: &str| everywhere(path) && !path.starts_with("benches/src/");
    none("a sleep", mentions(&sources("rs"), "thread::sleep", outside_measurements));
}

#[test]
fn unsafe_lives_in_few_named_places() {
    let allowed = |path: &str| {
        path.starts_with("net/conn/src/ring")
            || path.starts_with("net/conn/tests/")
            || path == "net/conn/src/network.rs"
            || path.starts_with("engine/src/env/")
            || path == "server/src/shard/record_slice.rs"
            || path == "server/src/shard/memory.rs"
            || path == "server/src/shard/signals.rs"
            || path == "server/src/start_error.rs"
            || path == "server/src/cli/check/probe.rs"
            || path.starts_with("benches/")
            || path.starts_with("tests/")
            || path.starts_with("tools/")
    };
    for word in ["unsafe {", "unsafe impl", "unsafe fn"] {
        none("unsafe outside its places", mentions(&sources("rs"), word, |path| !allowed(path)));
    }
}

#[test]
fn documents_name_files_that_exist() {
    let root = root();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        let text = fs::read_to_string(root.join(document)).expect("the document is there");
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = quoted.contains('/')
                && !quoted.contains(' ')
                && !quoted.contains('<')
                && !quoted.starts_with("--");
            let top = quoted.split('/').next().unwrap_or_default();
            let ours = ["net", "engine", "server", "client", "benches", "tests", "tools"].contains(&top);
            if is_path && ours {
                let path = quoted.split("::").next().unwrap_or_default();
                assert!(root.join(path).exists(), "{document} names {path}, which is not there");
            }
        }
    }
}

#[test]
fn the_checks_find_what_they_look_for() {
    let planted = [Source {
        path: "server/src/broker/x.rs".into(),
        text: "// glommio:: in a comment\nglommio::spawn()\n".into(),
    }];
    assert_eq!(mentions(&planted, "glommio::", |_| true), ["server/src/broker/x.rs:2: glommio::spawn()"]);
    assert!(mentions(&planted, "glommio::", |path| path.starts_with("engine")).is_empty());
}
