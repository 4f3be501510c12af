//! Conditions: SQL92 expressions over a message's properties, which select what a consumer gets. Pure.
//!
//! ```text
//! or         := and { OR and }
//! and        := equality { AND equality }
//! equality   := comparison { ( "=" | "<>" ) comparison | IS [NOT] NULL }
//! comparison := unary { ( ">" | ">=" | "<" | "<=" ) unary | [NOT] BETWEEN unary AND unary
//!                     | [NOT] IN "(" text { "," text } ")" | [NOT] ( CONTAINS | STARTSWITH | ENDSWITH ) text }
//! unary      := "+" unary | "-" unary | NOT unary | TRUE | FALSE | NULL | number | text | property | "(" or ")"
//!
//! text ─▶ lexer ─▶ compiler ─▶ Program ─▶ evaluate(encoded properties)          "a > 5 AND NOT (b IS NULL)"
//! ```
//!
//! A condition is true, false or unknown; a message passes if it is true. A property is text or absent, and absent makes
//! most things unknown; a number that it is compared with says how its text is read. What cannot be evaluated, a text that
//! is no number, lets the message not pass, whatever else the condition says.
//!
//! The meaning is Apache's to the letter, with what surprises in it: NOT binds closer than a comparison, what follows a
//! whole expression is not looked at, `0.0` is refused, and two absent properties are equal. `tests/compat/conditions.rs`
//! compares the two over random conditions and messages.
//!
//! Differences from Apache: the bounds below; a text is read as a number only up to [`NUMBER_BYTES_MAX`], in ASCII digits
//! and not in hexadecimal; and what a refusal quotes is the expression as it was written.
//!
//! Invariants
//!  1. Compiling takes time and memory that grow with the text alone, evaluating with the program and the properties.
//!  2. Whatever the text and the properties are, nothing panics.
//!
//! Source: `filter/.../parser/SelectorParser.jj`, `filter/.../expression/`.

mod compiler;
mod lexer;
mod number;
mod program;
mod table;

pub use program::Program;
pub use table::Conditions;

/// Bytes of a condition's text. At the bound: refused. As for tags.
pub const TEXT_BYTES_MAX: usize = ringmq_wire::record::tag::EXPRESSION_BYTES_MAX;
/// Parentheses and signs within each other. At the bound: refused.
pub const DEPTH_MAX: usize = 64;
/// Operations of a program. At the bound: refused. BETWEEN evaluates its left side twice, so nested ones double.
pub const OPERATIONS_MAX: usize = 2_048;
/// Bytes of a text that is read as a number. Beyond: it is none.
pub const NUMBER_BYTES_MAX: usize = 512;

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// A character that begins nothing.
    #[error("Lexical error at line {line}, column {column}.  Encountered: {found}")]
    Lexical {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The character, and its number.
        found: String,
    },
    /// A word or sign that does not belong there.
    #[error("Encountered \"{found}\" at line {line}, column {column}.")]
    Unexpected {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// As it was written.
        found: String,
    },
    /// A value where a truth is wanted.
    #[error("Expression will not result in a boolean value: {0}")]
    NotBoolean(String),
    /// Only numbers and properties are more or less than others.
    #[error("Value '{0}' cannot be compared.")]
    NotOrdered(String),
    /// NULL is found by IS NULL.
    #[error("'{0}' cannot be compared.")]
    NullCompared(String),
    /// Two constants that are never equal.
    #[error("'{0}' cannot be compared with '{1}'")]
    NeverEqual(String, String),
    /// A bound that is NULL.
    #[error("Illegal values of between, values can not be null!")]
    NullBetween,
    /// Bounds that hold nothing.
    #[error("Illegal values of between, left value({0}) must less than or equal to right value({1})")]
    EmptyBetween(String, String),
    /// A list of what?
    #[error("Expected a property for In expression, got: {0}")]
    InWithoutProperty(String),
    /// More digits than 64 bits hold.
    #[error("For input string: \"{0}\"")]
    IntegerTooLarge(String),
    /// Only the positive ones that a double can be.
    #[error("{0} is {1}")]
    FloatOutOfRange(String, &'static str),
    /// A bound.
    #[error("the condition has {0} bytes, of at most {TEXT_BYTES_MAX}; use several subscriptions")]
    TooLong(usize),
    /// A bound.
    #[error("the condition has more than {DEPTH_MAX} parentheses or signs within each other")]
    TooDeep,
    /// A bound.
    #[error("the condition needs more than {OPERATIONS_MAX} operations; make it simpler")]
    TooLarge,
}

/// A compiled condition.
#[derive(Debug, Clone)]
pub struct Condition {
    text: Box<str>,
    program: Program,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl Condition {
    /// Reads and compiles a condition.
    pub fn compile(text: &str) -> Result<Condition, ConditionError> {
        Ok(Condition { text: text.into(), program: compiler::compile(text)? })
    }

    /// True, false or unknown, for a message with these encoded properties. What makes no sense is unknown too.
    pub fn evaluate(&self, properties: &[u8]) -> Option<bool> {
        self.program.evaluate(properties)
    }

    /// Whether a message with these encoded properties passes.
    pub fn admits(&self, properties: &[u8]) -> bool {
        self.evaluate(properties) == Some(true)
    }

    /// An upper bound of what evaluating costs: bytes looked at.
    pub fn cost(&self, properties: &[u8]) -> usize {
        self.program.operations() * (properties.len() + 16)
    }
}

#[cfg(test)]
mod tests;
