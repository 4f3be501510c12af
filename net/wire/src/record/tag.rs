//! Tags: their hash codes, and the expressions that select them.
//!
//! An expression names tags separated by `||`; `*`, nothing at all, or only blanks selects everything. An entry of a
//! queue keeps only a tag's 32-bit hash, so a filter on hashes lets through every wanted record and, rarely, one
//! more: consumers compare the text again.
//!
//! Hash codes that clients send are not trusted (C++ sends zeros, Go strings): they are recomputed here.
//!
//! Source: `filter/.../FilterAPI.java` (`buildSubscriptionData`), `String.hashCode`.

/// Selects every record.
pub const ALL: &str = "*";
/// Longest expression that is parsed.
pub const EXPRESSION_BYTES_MAX: usize = 16 * 1024;
/// Most tags of one expression.
pub const TAGS_MAX: usize = 1024;

/// Java's `String.hashCode`: h = 31·h + c over UTF-16 code units.
pub fn hash_code(tag: &str) -> i32 {
    tag.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// What an expression selects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagSelection {
    /// Empty: everything.
    tags: Vec<String>,
    /// Hash codes of `tags`, sorted.
    hashes: Vec<i32>,
}

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// More than [`EXPRESSION_BYTES_MAX`].
    #[error("tag expression of {0} bytes exceeds {EXPRESSION_BYTES_MAX}")]
    TooLong(usize),
    /// More than [`TAGS_MAX`].
    #[error("tag expression has more than {TAGS_MAX} tags")]
    TooMany,
    /// Separators and nothing between them.
    #[error("tag expression names no tag")]
    Empty,
}

impl TagSelection {
    /// Selects everything.
    pub const EVERYTHING: TagSelection = TagSelection { tags: Vec::new(), hashes: Vec::new() };

    /// Parses an expression such as `TagA || TagB`.
    pub fn parse(expression: &str) -> Result<TagSelection, TagError> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(TagError::TooLong(expression.len()));
        }
        if matches!(expression.trim(), "" | ALL) {
            return Ok(TagSelection::EVERYTHING);
        }
        let selection = TagSelection::of(expression.split("||"))?;
        if selection.is_everything() { Err(TagError::Empty) } else { Ok(selection) }
    }

    /// Selects these tags, blanks around them and empty ones left out; none selects everything.
    pub fn of<'t>(tags: impl IntoIterator<Item = &'t str>) -> Result<TagSelection, TagError> {
        let mut selection = TagSelection::default();
        for tag in tags.into_iter().map(str::trim).filter(|tag| !tag.is_empty()) {
            if selection.tags.iter().any(|known| known == tag) {
                continue;
            }
            if selection.tags.len() == TAGS_MAX {
                return Err(TagError::TooMany);
            }
            selection.tags.push(tag.to_owned());
            selection.hashes.push(hash_code(tag));
        }
        selection.hashes.sort_unstable();
        Ok(selection)
    }

    /// Whether every record is selected.
    pub fn is_everything(&self) -> bool {
        self.tags.is_empty()
    }

    /// The tags named, in order; none for everything.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Their hash codes, sorted.
    pub fn hashes(&self) -> &[i32] {
        &self.hashes
    }

    /// Whether a record whose entry carries this hash may be selected. A record without a tag has hash 0 and is
    /// selected only by everything (or by a tag that happens to hash to 0, which consumers sort out).
    pub fn admits(&self, hash: i32) -> bool {
        match self.hashes.as_slice() {
            [] => true,
            [only] => *only == hash,
            several => several.binary_search(&hash).is_ok(),
        }
    }

    /// Whether a record with this tag is selected: what a consumer checks again.
    pub fn admits_tag(&self, tag: Option<&str>) -> bool {
        self.is_everything() || tag.is_some_and(|tag| self.tags.iter().any(|known| known == tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_codes_are_javas() {
        for (tag, hash) in [("", 0), ("TagA", 2598919), ("TagB", 2598920), ("中文", 646394), ("😀", 1772899)]
        {
            assert_eq!(hash_code(tag), hash, "{tag}");
        }
    }

    #[test]
    fn expressions_select_the_tags_they_name() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  ", &[]),
            ("*", &[]),
            (" * ", &[]),
            ("TagA", &["TagA"]),
            ("TagA || TagB", &["TagA", "TagB"]),
            ("TagA||TagB", &["TagA", "TagB"]),
            (" TagA ||  || TagA|| ", &["TagA"]),
            ("a|b", &["a|b"]),
        ];
        for (expression, tags) in table {
            assert_eq!(TagSelection::parse(expression).unwrap().tags(), *tags, "{expression:?}");
        }
        assert_eq!(TagSelection::parse(" || "), Err(TagError::Empty));
    }

    #[test]
    fn expressions_have_limits() {
        let many = (0..=TAGS_MAX).map(|number| number.to_string()).collect::<Vec<_>>().join("||");
        assert_eq!(TagSelection::parse(&many), Err(TagError::TooMany));
        let long = "t".repeat(EXPRESSION_BYTES_MAX + 1);
        assert_eq!(TagSelection::parse(&long), Err(TagError::TooLong(long.len())));
    }

    #[test]
    fn rule_18_hashes_come_from_the_tags_and_never_from_the_client() {
        let selection = TagSelection::of(["TagB", "TagA"]).unwrap();
        assert_eq!(selection.hashes(), [2598919, 2598920]);
        assert!(selection.admits(2598920) && !selection.admits(0));
        assert!(selection.admits_tag(Some("TagA")) && !selection.admits_tag(Some("TagC")));
        assert!(!selection.admits_tag(None));
        assert!(TagSelection::EVERYTHING.admits(0) && TagSelection::EVERYTHING.admits_tag(None));
    }
}
