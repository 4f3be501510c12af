//! A subscription: which records of a topic a group wants (RocketMQ: SubscriptionData).
//!
//!     {"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA",
//!      "subVersion":1795360511454,"tagsSet":["TagA"],"topic":"T"}
//!
//! `codeSet` is not read: C++ sends zeros and Go strings. It is computed from the tags, and written for the tools
//! that show it.
//!
//! Source: `remoting/.../protocol/heartbeat/SubscriptionData.java`.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::tolerant;
use crate::record::tag::{self, TagError, TagSelection};

/// Tags select records.
pub const EXPRESSION_TAG: &str = "TAG";
/// An SQL condition on properties selects records.
pub const EXPRESSION_SQL92: &str = "SQL92";

/// Which records of a topic are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subscription {
    /// Legacy.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub class_filter_mode: bool,
    /// [`EXPRESSION_TAG`], also if absent or empty (C++), or [`EXPRESSION_SQL92`].
    #[serde(deserialize_with = "expression_type")]
    pub expression_type: String,
    /// The expression as the user wrote it.
    #[serde(rename = "subString", deserialize_with = "tolerant::nullable")]
    pub expression: String,
    /// Larger is newer. Milliseconds from Java and C++, nanoseconds from Go.
    #[serde(rename = "subVersion", deserialize_with = "tolerant::number")]
    pub version: i64,
    /// The tags of the expression, as the client parsed it.
    #[serde(rename = "tagsSet", deserialize_with = "tolerant::nullable")]
    pub tags: Vec<String>,
    /// The topic.
    #[serde(deserialize_with = "tolerant::nullable")]
    pub topic: String,
}

impl Default for Subscription {
    fn default() -> Self {
        Subscription {
            class_filter_mode: false,
            expression_type: EXPRESSION_TAG.to_owned(),
            expression: String::new(),
            version: 0,
            tags: Vec::new(),
            topic: String::new(),
        }
    }
}

fn expression_type<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let written = Option::<String>::deserialize(from)?.filter(|kind| !kind.is_empty());
    Ok(written.unwrap_or_else(|| EXPRESSION_TAG.to_owned()))
}

impl Subscription {
    /// Whether tags select, rather than SQL.
    pub fn is_tag(&self) -> bool {
        self.expression_type == EXPRESSION_TAG
    }

    /// The tags that it selects: those listed, else those of the expression.
    pub fn selection(&self) -> Result<TagSelection, TagError> {
        if self.tags.is_empty() {
            TagSelection::parse(&self.expression)
        } else {
            TagSelection::of(self.tags.iter().map(String::as_str))
        }
    }
}

impl Serialize for Subscription {
    fn serialize<S: Serializer>(&self, into: S) -> Result<S::Ok, S::Error> {
        let codes: Vec<_> = self.tags.iter().map(|tag| tag::hash_code(tag)).collect();
        let mut written = into.serialize_struct("Subscription", 7)?;
        written.serialize_field("classFilterMode", &self.class_filter_mode)?;
        written.serialize_field("codeSet", &codes)?;
        written.serialize_field("expressionType", &self.expression_type)?;
        written.serialize_field("subString", &self.expression)?;
        written.serialize_field("subVersion", &self.version)?;
        written.serialize_field("tagsSet", &self.tags)?;
        written.serialize_field("topic", &self.topic)?;
        written.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn rule_18_code_sets_of_clients_are_ignored_and_computed_anew() {
        for codes in ["[0,0]", r#"["2598919","2598920"]"#, "null", "7"] {
            let body = format!(
                r#"{{"codeSet":{codes},"subString":"TagA || TagB","subVersion":"7","tagsSet":["TagA","TagB"],"topic":"T"}}"#
            );
            let subscription: Subscription = json::read(body.as_bytes()).unwrap();
            assert_eq!(subscription.selection().unwrap().hashes(), [2598919, 2598920]);
            assert_eq!(
                String::from_utf8(json::write(&subscription)).unwrap(),
                r#"{"classFilterMode":false,"codeSet":[2598919,2598920],"expressionType":"TAG","subString":"TagA || TagB","subVersion":7,"tagsSet":["TagA","TagB"],"topic":"T"}"#
            );
        }
    }

    #[test]
    fn without_listed_tags_the_expression_is_parsed() {
        let subscription = Subscription { expression: "TagA || TagB".into(), ..Subscription::default() };
        assert_eq!(subscription.selection().unwrap().tags(), ["TagA", "TagB"]);
        assert!(subscription.is_tag());
        let everything = Subscription { expression: "*".into(), ..Subscription::default() };
        assert!(everything.selection().unwrap().is_everything());
    }
}
