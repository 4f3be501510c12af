//! A compiled condition: operations on a stack of values, and the properties that they ask for. Pure.
//!
//! ```text
//! a > 5 AND b = 'x'      0 Load a        3 Compare >       6 Constant 'x'
//!                        1 SkipIfNull 2  4 SkipIfFalse 4   7 Equal
//!                        2 Constant 5    5 Load b          8 And
//! ```
//!
//! The values of all properties that a program asks for come with one pass over the encoded ones.
//!
//! Invariants
//!  1. Each operation takes from the stack what others left there; in the end one value is left.
//!  2. A skip stays inside the part of the condition that it stands in, so a part can be moved and copied.

use std::cmp::Ordering;

use ringmq_wire::record::properties::pairs_of_bytes;

use super::{ConditionError, OPERATIONS_MAX, number};

/// Programs that ask for so many properties, and hold so many values at once, take no memory to evaluate.
const SMALL: usize = 16;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Program {
    operations: Vec<Operation>,
    /// Of properties.
    names: Vec<Box<[u8]>>,
    /// Values held at once, at most.
    depth: usize,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operation {
    /// Adds a property's value, by the number of its name.
    Load(usize),
    /// Adds a literal.
    Constant(Constant),
    /// A text is false, a truth itself.
    Truth,
    Not,
    Negate,
    /// Goes so many further, if what is on top decides the whole; it stays.
    SkipIfFalse(usize),
    SkipIfTrue(usize),
    SkipIfNull(usize),
    /// Two truths become one.
    And,
    Or,
    Equal,
    Compare(Relation),
    /// The texts are sorted.
    In {
        texts: Box<[Box<str>]>,
        not: bool,
    },
    Search {
        how: Search,
        text: Box<str>,
        not: bool,
    },
}

/// More or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

/// Where in a text another is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

/// A literal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
}

impl Constant {
    /// Its place beside another, if they can be compared.
    pub fn compare(&self, other: &Constant) -> Option<Ordering> {
        Value::of(self).compare(Value::of(other)).ok()
    }
}

/// What an operation works on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a [u8]),
}

/// What is asked for makes no sense for these values: the message does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Senseless;

impl<'a> Value<'a> {
    fn of(constant: &'a Constant) -> Value<'a> {
        match constant {
            Constant::Null => Value::Null,
            Constant::Bool(truth) => Value::Bool(*truth),
            Constant::Int(number) => Value::Int(*number),
            Constant::Long(number) => Value::Long(*number),
            Constant::Double(number) => Value::Double(*number),
            Constant::Text(text) => Value::Text(text.as_bytes()),
        }
    }

    fn truth(self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    fn from_truth(truth: Option<bool>) -> Value<'a> {
        truth.map_or(Value::Null, Value::Bool)
    }

    /// The order of two values. Of two kinds, the narrower becomes the wider, a text what stands beside it; a number is
    /// always less than a truth, and the other way round. (`ComparisonExpression.__compare`)
    fn compare(self, other: Value<'_>) -> Result<Ordering, Senseless> {
        use Value::*;
        let double = |text| number::double(text).ok_or(Senseless);
        Ok(match (self, other) {
            (Bool(one), Bool(other)) => one.cmp(&other),
            (Int(one), Int(other)) => one.cmp(&other),
            (Text(one), Text(other)) => one.cmp(other),
            (Bool(_), Text(_)) => return Err(Senseless),
            (Text(one), Bool(other)) => one.eq_ignore_ascii_case(b"true").cmp(&other),
            (Text(one), Int(other)) => number::whole::<i32>(one).ok_or(Senseless)?.cmp(&other),
            (Int(one), Text(other)) => one.cmp(&number::whole(other).ok_or(Senseless)?),
            (Text(one), Long(other)) => number::whole::<i64>(one).ok_or(Senseless)?.cmp(&other),
            (Long(one), Text(other)) => one.cmp(&number::whole(other).ok_or(Senseless)?),
            (Text(one), Double(other)) => number::order(double(one)?, other),
            (Double(one), Text(other)) => number::order(one, double(other)?),
            (one, other) => match (one.whole(), other.whole()) {
                (Some(one), Some(other)) => one.cmp(&other),
                _ => match (one.double(), other.double()) {
                    (Some(one), Some(other)) => number::order(one, other),
                    _ => Ordering::Less,
                },
            },
        })
    }

    fn whole(self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(number.into()),
            Value::Long(number) => Some(number),
            _ => None,
        }
    }

    fn double(self) -> Option<f64> {
        match self {
            Value::Double(number) => Some(number),
            // What 53 bits do not hold is rounded, as Java rounds it.
            _ => self.whole().map(|number| number as f64),
        }
    }

    fn equal(self, other: Value<'_>) -> Result<Value<'a>, Senseless> {
        Ok(match (self, other) {
            (Value::Null, Value::Null) => Value::Bool(true),
            (Value::Null, _) => Value::Null,
            (_, Value::Null) => Value::Bool(false),
            (one, other) => Value::Bool(one.compare(other)?.is_eq()),
        })
    }

    fn relate(self, relation: Relation, other: Value<'_>) -> Result<Value<'a>, Senseless> {
        let order = match (self, other) {
            (Value::Null, _) | (_, Value::Null) => return Ok(Value::Null),
            (Value::Text(one), Value::Text(other)) => {
                let double = |text| number::double(text).ok_or(Senseless);
                number::order(double(one)?, double(other)?)
            }
            (one, other) => one.compare(other)?,
        };
        Ok(Value::Bool(match relation {
            Relation::Greater => order.is_gt(),
            Relation::GreaterEqual => order.is_ge(),
            Relation::Less => order.is_lt(),
            Relation::LessEqual => order.is_le(),
        }))
    }

    fn negate(self) -> Value<'a> {
        match self {
            Value::Int(number) => Value::Int(number.wrapping_neg()),
            Value::Long(number) => Value::Long(number.wrapping_neg()),
            Value::Double(number) => Value::Double(-number),
            _ => Value::Null,
        }
    }
}

impl Search {
    fn finds(self, text: &[u8], wanted: &str) -> bool {
        match self {
            Search::StartsWith => text.starts_with(wanted.as_bytes()),
            Search::EndsWith => text.ends_with(wanted.as_bytes()),
            // The search in text takes time that grows with the two together, never with their product.
            Search::Contains => std::str::from_utf8(text).is_ok_and(|text| text.contains(wanted)),
        }
    }
}

/// Building it, which is the compiler's.
impl Program {
    /// How many there are.
    pub fn operations(&self) -> usize {
        self.operations.len()
    }

    /// Adds one; gives its number.
    pub(super) fn push(&mut self, operation: Operation) -> usize {
        self.operations.push(operation);
        self.operations.len() - 1
    }

    /// Adds the value of a property.
    pub(super) fn load(&mut self, name: &str) -> Result<(), ConditionError> {
        if self.operations.len() >= OPERATIONS_MAX {
            return Err(ConditionError::TooLarge);
        }
        let known = self.names.iter().position(|known| **known == *name.as_bytes());
        let number = known.unwrap_or_else(|| {
            self.names.push(name.as_bytes().into());
            self.names.len() - 1
        });
        self.push(Operation::Load(number));
        Ok(())
    }

    /// Takes away everything from an operation on.
    pub(super) fn cut(&mut self, begin: usize) -> Vec<Operation> {
        self.operations.split_off(begin)
    }

    /// A copy of everything from an operation on.
    pub(super) fn copy(&self, begin: usize) -> Vec<Operation> {
        self.operations[begin..].to_vec()
    }

    /// Puts a part at the end.
    pub(super) fn append(&mut self, part: Vec<Operation>) {
        self.operations.extend(part);
    }

    /// Lets the skip at `at` go to what comes next.
    pub(super) fn skip_to_end(&mut self, at: usize) {
        let distance = self.operations.len() - at - 1;
        match &mut self.operations[at] {
            Operation::SkipIfFalse(skip) | Operation::SkipIfTrue(skip) | Operation::SkipIfNull(skip) => {
                *skip = distance
            }
            other => unreachable!("{other:?} is no skip"),
        }
    }

    /// Counts how many values it holds at once.
    pub(super) fn finish(&mut self) {
        let mut held = 0_usize;
        for operation in &self.operations {
            match operation {
                Operation::Load(_) | Operation::Constant(_) => held += 1,
                Operation::And | Operation::Or | Operation::Equal | Operation::Compare(_) => held -= 1,
                _ => {}
            }
            self.depth = self.depth.max(held);
        }
    }
}

/// Evaluating it.
impl Program {
    /// The condition's value for a message with these encoded properties; `None`: unknown, or it makes no sense.
    pub fn evaluate(&self, properties: &[u8]) -> Option<bool> {
        let (mut few_loaded, mut few_values) = ([Value::Null; SMALL], [Value::Null; SMALL]);
        let (mut many_loaded, mut many_values) = (Vec::new(), Vec::new());
        let loaded = room(&mut few_loaded, &mut many_loaded, self.names.len());
        let values = room(&mut few_values, &mut many_values, self.depth);
        for (name, value) in pairs_of_bytes(properties) {
            if let Some(number) = self.names.iter().position(|wanted| **wanted == *name) {
                loaded[number] = Value::Text(value);
            }
        }
        self.run(loaded, values).ok().and_then(Value::truth)
    }

    fn run<'a>(&'a self, loaded: &[Value<'a>], values: &mut [Value<'a>]) -> Result<Value<'a>, Senseless> {
        // How many values there are, and which operation is next.
        let (mut held, mut next) = (0, 0);
        while let Some(operation) = self.operations.get(next) {
            next += 1;
            let added = match operation {
                Operation::Load(number) => Some(loaded[*number]),
                Operation::Constant(constant) => Some(Value::of(constant)),
                _ => None,
            };
            if let Some(value) = added {
                values[held] = value;
                held += 1;
                continue;
            }
            let top = values[held - 1];
            let changed = match operation {
                Operation::SkipIfFalse(skip) if top == Value::Bool(false) => {
                    next += skip;
                    continue;
                }
                Operation::SkipIfTrue(skip) if top == Value::Bool(true) => {
                    next += skip;
                    continue;
                }
                Operation::SkipIfNull(skip) if top == Value::Null => {
                    next += skip;
                    continue;
                }
                Operation::SkipIfFalse(_) | Operation::SkipIfTrue(_) | Operation::SkipIfNull(_) => continue,
                Operation::Truth => match top {
                    Value::Null | Value::Bool(_) => top,
                    _ => Value::Bool(false),
                },
                Operation::Not => Value::from_truth(top.truth().map(|truth| !truth)),
                Operation::Negate => top.negate(),
                Operation::In { texts, not } => match top {
                    Value::Text(text) => {
                        Value::Bool(texts.binary_search_by(|one| one.as_bytes().cmp(text)).is_ok() != *not)
                    }
                    _ => Value::Null,
                },
                Operation::Search { how, text: wanted, not } => match top {
                    Value::Text(text) => Value::Bool(how.finds(text, wanted) != *not),
                    _ => Value::Bool(false),
                },
                _ => {
                    held -= 1;
                    let left = values[held - 1];
                    match operation {
                        Operation::Equal => left.equal(top)?,
                        Operation::Compare(relation) => left.relate(*relation, top)?,
                        Operation::And => Value::from_truth(match (left.truth(), top.truth()) {
                            (Some(false), _) | (_, Some(false)) => Some(false),
                            (Some(true), Some(true)) => Some(true),
                            _ => None,
                        }),
                        _ => Value::from_truth(match (left.truth(), top.truth()) {
                            (Some(true), _) | (_, Some(true)) => Some(true),
                            (Some(false), Some(false)) => Some(false),
                            _ => None,
                        }),
                    }
                }
            };
            values[held - 1] = changed;
        }
        Ok(values[0])
    }
}

/// Room for so many values.
fn room<'r, 'v>(
    few: &'r mut [Value<'v>; SMALL],
    many: &'r mut Vec<Value<'v>>,
    count: usize,
) -> &'r mut [Value<'v>] {
    if count <= SMALL {
        return few;
    }
    many.resize(count, Value::Null);
    many
}
