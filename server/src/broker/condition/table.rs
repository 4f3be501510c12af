//! Compiled conditions by their text, so that a subscription that is said again is not compiled again. Pure.
//!
//! Every heartbeat repeats its group's subscriptions, and every pull of a lite consumer brings its own.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Condition, ConditionError};

/// Conditions that are kept although nobody uses them now. At the bound: those are let go of.
const UNUSED_MAX: usize = 256;

/// One per shard.
#[derive(Debug, Default)]
pub struct Conditions {
    by_text: HashMap<Box<str>, Rc<Condition>>,
}

impl Conditions {
    /// The condition of a text.
    pub fn compiled(&mut self, text: &str) -> Result<Rc<Condition>, ConditionError> {
        if let Some(known) = self.by_text.get(text) {
            return Ok(known.clone());
        }
        let condition = Rc::new(Condition::compile(text)?);
        if self.by_text.len() >= UNUSED_MAX {
            self.by_text.retain(|_, known| Rc::strong_count(known) > 1);
        }
        // With so many in use, one more is compiled whenever it is said.
        if self.by_text.len() < UNUSED_MAX {
            self.by_text.insert(text.into(), condition.clone());
        }
        Ok(condition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compiled_once_and_the_table_has_a_bound() {
        let mut conditions = Conditions::default();
        let first = conditions.compiled("a = 0").unwrap();
        assert!(Rc::ptr_eq(&first, &conditions.compiled("a = 0").unwrap()));
        let others: Vec<_> = (1..2 * UNUSED_MAX)
            .map(|number| conditions.compiled(&format!("a = {number}")).unwrap())
            .collect();
        assert_eq!(conditions.by_text.len(), UNUSED_MAX);
        assert!(Rc::ptr_eq(&first, &conditions.compiled("a = 0").unwrap()));
        drop(others);
        conditions.compiled("b = 1").unwrap();
        assert_eq!(conditions.by_text.len(), 2, "what nobody uses made room");
        assert!(conditions.compiled("a =").is_err());
    }
}
