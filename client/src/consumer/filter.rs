//! Which messages of a topic a group wants.

use crate::error::Error;
use ringmq_wire::record::tag::{ALL, TagSelection};
use ringmq_wire::request::subscription::{EXPRESSION_SQL92, EXPRESSION_TAG, Subscription};

/// Which messages of a topic a group wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    kind: &'static str,
    expression: String,
}

impl Filter {
    /// All of them.
    pub fn all() -> Filter {
        Filter::tags(ALL)
    }

    /// Those with one of these tags, separated by `||`.
    pub fn tags(expression: impl Into<String>) -> Filter {
        Filter { kind: EXPRESSION_TAG, expression: expression.into() }
    }

    /// Those whose properties satisfy an SQL92 condition, such as `region = 'north' AND count > 3`. The broker evaluates it;
    /// it must be able to.
    pub fn sql(condition: impl Into<String>) -> Filter {
        Filter { kind: EXPRESSION_SQL92, expression: condition.into() }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.selection().map(drop)
    }

    /// The tags that it admits; of a condition, everything, which the broker has sorted out.
    pub(crate) fn selection(&self) -> Result<TagSelection, Error> {
        match self.kind {
            EXPRESSION_TAG => TagSelection::parse(&self.expression).map_err(Error::invalid),
            _ => Ok(TagSelection::EVERYTHING),
        }
    }

    /// As brokers are told. `version` rises when it changes.
    pub(crate) fn subscription(&self, topic: &str, version: i64) -> Subscription {
        let tags = self.selection().map(|selection| selection.tags().to_vec()).unwrap_or_default();
        Subscription {
            class_filter_mode: false,
            expression_type: self.kind.to_owned(),
            expression: self.expression.clone(),
            version,
            tags,
            topic: topic.to_owned(),
        }
    }
}

impl Default for Filter {
    fn default() -> Filter {
        Filter::all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_told_the_expression_and_its_tags() {
        for (filter, kind, expression, tags) in [
            (Filter::all(), "TAG", "*", ""),
            (Filter::tags("A || B"), "TAG", "A || B", "A B"),
            (Filter::sql("a > 3"), "SQL92", "a > 3", ""),
        ] {
            let told = filter.subscription("T", 7);
            assert_eq!((told.expression_type.as_str(), told.expression.as_str()), (kind, expression));
            assert_eq!((told.tags.join(" ").as_str(), told.version, told.topic.as_str()), (tags, 7, "T"));
        }
        assert!(Filter::tags("||").check().is_err());
    }
}
