//! The frames of `golden/`, loaded. Their names are explained there.

use std::path::Path;

/// One frame as it was on the wire.
pub struct Captured {
    /// The file's name.
    pub name: String,
    /// The client or server that sent the request.
    pub who: String,
    /// Code of the request.
    pub code: i32,
    /// Of an answer: its response code.
    pub reply: Option<i32>,
    /// The whole frame.
    pub bytes: Vec<u8>,
}

/// All frames, by name. Fails if there are none: then nothing is tested.
pub fn all() -> Vec<Captured> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(&folder).expect("the folder of golden frames is there");
    let mut frames: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| load(&path))
        .collect();
    assert!(frames.len() > 100, "only {} golden frames in {}", frames.len(), folder.display());
    frames.sort_by(|one, other| one.name.cmp(&other.name));
    frames
}

fn load(path: &Path) -> Captured {
    let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).expect("a golden frame can be read");
    let digits: Vec<u8> = text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .map(|letter| {
            letter.to_digit(16).unwrap_or_else(|| panic!("{name}: {letter:?} is no hex digit")) as u8
        })
        .collect();
    let bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let code = name
        .split('-')
        .find_map(|part| part.parse().ok())
        .unwrap_or_else(|| panic!("{name} names no request code"));
    let who = name.split(&format!("-{code}-")).next().unwrap_or_default().to_owned();
    let reply =
        name.split("-reply-").nth(1).map(|code| code.parse().expect("a reply's name ends with its code"));
    Captured { name, who, code, reply, bytes }
}
