//! The language a client says it is written in. Kept per session for administration output only.
//!
//! The wire carries the name (JSON header) or the ordinal (binary header). Python's package reports CPP,
//! because it wraps the C++ library.
//!
//! Source: `remoting/.../protocol/LanguageCode.java`.

/// Names by ordinal.
pub const NAMES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS",
    "RUST", "NODE_JS",
];

/// What we write. Java clients before 4.9 do not know the name `RUST` and their parser refuses a header
/// with an unknown name, so the oldest name is the one that every client accepts.
pub const OURS: u8 = JAVA;
/// Ordinal of Java clients.
pub const JAVA: u8 = 0;
/// Ordinal of C++ (and Python) clients; some bodies have another shape for them.
pub const CPP: u8 = 1;
/// Ordinal that stands for every name we do not know.
pub const OTHER: u8 = 7;

/// The name of an ordinal; `OTHER` for unknown ones.
pub fn name(ordinal: u8) -> &'static str {
    NAMES.get(usize::from(ordinal)).copied().unwrap_or("OTHER")
}

/// The ordinal of a name; [`OTHER`] for unknown ones.
pub fn from_name(name: &str) -> u8 {
    (0u8..).zip(NAMES).find(|(_, known)| *known == name).map_or(OTHER, |(ordinal, _)| ordinal)
}

/// The ordinal that a number on the wire means; [`OTHER`] for unknown ones.
pub fn from_number(number: i64) -> u8 {
    u8::try_from(number).ok().filter(|ordinal| usize::from(*ordinal) < NAMES.len()).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_ordinal_find_each_other_and_strangers_are_other() {
        for (ordinal, known) in (0u8..).zip(NAMES) {
            assert_eq!(from_name(known), ordinal);
            assert_eq!(name(ordinal), known);
            assert_eq!(from_number(ordinal.into()), ordinal);
        }
        assert_eq!((from_name("COBOL"), from_number(14), from_number(-1)), (OTHER, OTHER, OTHER));
        assert_eq!(name(200), "OTHER");
    }
}
