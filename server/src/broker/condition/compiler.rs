//! From a condition's text to its program, in one pass. Pure.
//!
//! Every rule of the grammar appends the operations that leave its value on the stack, and says what kind of value that is;
//! where Apache's parser refuses a kind, so does this.
//!
//! Source: `SelectorParser.jj`; `ComparisonExpression.java` (`checkLessThanOperand`, `createBetween` and their neighbours).

use std::cmp::Ordering;
use std::ops::Range;

use super::lexer::{Keyword, Lexer, Token, place};
use super::program::{Constant, Operation, Program, Relation, Search};
use super::{ConditionError, DEPTH_MAX, OPERATIONS_MAX, TEXT_BYTES_MAX};

/// Characters of the text that an error quotes.
const QUOTED_CHARS_MAX: usize = 80;

/// Compiles a whole condition.
pub(super) fn compile(text: &str) -> Result<Program, ConditionError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ConditionError::TooLong(text.len()));
    }
    let mut compiler = Compiler {
        text,
        lexer: Lexer::new(text),
        next: (Token::End, 0, 0),
        end: 0,
        depth: 0,
        program: Program::default(),
    };
    compiler.advance()?;
    let whole = compiler.or()?;
    compiler.truth(&whole)?;
    compiler.program.finish();
    Ok(compiler.program)
}

struct Compiler<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The token ahead.
    next: (Token<'a>, usize, usize),
    /// Where the token before it ended.
    end: usize,
    depth: usize,
    program: Program,
}

/// A part of the condition that has been compiled.
#[derive(Debug, Clone)]
struct Operand {
    kind: Kind,
    /// Where its operations begin.
    begin: usize,
    /// Where it stands in the text.
    text: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// A property: text, or absent.
    Property,
    /// A literal.
    Constant(Constant),
    /// True, false or unknown.
    Truth,
    /// A number with a sign before it, or whatever else has one.
    Signed,
}

impl Operand {
    /// Whether it may stand where a truth must, as it is.
    fn is_truth(&self) -> bool {
        matches!(self.kind, Kind::Truth | Kind::Constant(Constant::Bool(_) | Constant::Null))
    }
}

type Compiled = Result<Operand, ConditionError>;

impl<'a> Compiler<'a> {
    fn or(&mut self) -> Compiled {
        self.chain(Keyword::Or, Operation::SkipIfTrue(0), Operation::Or, Self::and)
    }

    fn and(&mut self) -> Compiled {
        self.chain(Keyword::And, Operation::SkipIfFalse(0), Operation::And, Self::equality)
    }

    /// Parts that are joined by a word; a part is skipped where those before it decide.
    fn chain(
        &mut self,
        joint: Keyword,
        skip: Operation,
        join: Operation,
        part: impl Fn(&mut Self) -> Compiled,
    ) -> Compiled {
        let mut left = part(self)?;
        while self.take(Token::Keyword(joint))? {
            self.truth(&left)?;
            let skip_at = self.emit(skip.clone())?;
            let right = part(self)?;
            self.truth(&right)?;
            self.emit(join.clone())?;
            self.program.skip_to_end(skip_at);
            left = self.joined(Kind::Truth, &left);
        }
        Ok(left)
    }

    fn equality(&mut self) -> Compiled {
        let mut left = self.comparison()?;
        loop {
            if self.take(Token::Equal)? {
                self.equal(&left)?;
            } else if self.take(Token::NotEqual)? {
                self.equal(&left)?;
                self.emit(Operation::Not)?;
            } else if self.take(Token::Keyword(Keyword::Is))? {
                let not = self.take(Token::Keyword(Keyword::Not))?;
                self.expect(Token::Keyword(Keyword::Null))?;
                self.emit(Operation::Constant(Constant::Null))?;
                self.emit(Operation::Equal)?;
                if not {
                    self.emit(Operation::Not)?;
                }
            } else {
                return Ok(left);
            }
            left = self.joined(Kind::Truth, &left);
        }
    }

    fn equal(&mut self, left: &Operand) -> Result<(), ConditionError> {
        let right = self.comparison()?;
        for operand in [left, &right] {
            if operand.kind == Kind::Constant(Constant::Null) {
                return Err(ConditionError::NullCompared(self.quoted(operand)));
            }
        }
        if let (Kind::Constant(Constant::Bool(_)), Kind::Constant(constant)) = (&left.kind, &right.kind)
            && !matches!(constant, Constant::Bool(_))
        {
            return Err(ConditionError::NeverEqual(self.quoted(left), self.quoted(&right)));
        }
        self.emit(Operation::Equal).map(drop)
    }

    fn comparison(&mut self) -> Compiled {
        let mut left = self.unary()?;
        loop {
            let relation = match self.next.0 {
                Token::Greater => Some(Relation::Greater),
                Token::GreaterEqual => Some(Relation::GreaterEqual),
                Token::Less => Some(Relation::Less),
                Token::LessEqual => Some(Relation::LessEqual),
                _ => None,
            };
            if let Some(relation) = relation {
                self.advance()?;
                self.ordered(&left)?;
                let skip_at = self.emit(Operation::SkipIfNull(0))?;
                let right = self.unary()?;
                self.ordered(&right)?;
                self.emit(Operation::Compare(relation))?;
                self.program.skip_to_end(skip_at);
            } else {
                let not = self.take(Token::Keyword(Keyword::Not))?;
                match self.next.0 {
                    Token::Keyword(Keyword::Between) => self.between(&left, not)?,
                    Token::Keyword(Keyword::In) => self.list(&left, not)?,
                    Token::Keyword(Keyword::Contains) => self.search(&left, Search::Contains, not)?,
                    Token::Keyword(Keyword::StartsWith) => self.search(&left, Search::StartsWith, not)?,
                    Token::Keyword(Keyword::EndsWith) => self.search(&left, Search::EndsWith, not)?,
                    _ if not => return Err(self.unexpected()),
                    _ => return Ok(left),
                }
            }
            left = self.joined(Kind::Truth, &left);
        }
    }

    /// `v BETWEEN l AND h` is `v >= l AND v <= h`; with NOT, `v < l OR v > h`. All of `v` stands twice.
    fn between(&mut self, value: &Operand, not: bool) -> Result<(), ConditionError> {
        self.advance()?;
        let low = self.unary()?;
        self.expect(Token::Keyword(Keyword::And))?;
        let high = self.unary()?;
        if let (false, Kind::Constant(low_is), Kind::Constant(high_is)) = (not, &low.kind, &high.kind) {
            if [low_is, high_is].contains(&&Constant::Null) {
                return Err(ConditionError::NullBetween);
            }
            if high_is.compare(low_is) == Some(Ordering::Less) {
                return Err(ConditionError::EmptyBetween(self.quoted(&low), self.quoted(&high)));
            }
        }
        for operand in [value, &low, &high] {
            self.ordered(operand)?;
        }
        let (first, skip, second, join) = if not {
            (Relation::Less, Operation::SkipIfTrue(0), Relation::Greater, Operation::Or)
        } else {
            (Relation::GreaterEqual, Operation::SkipIfFalse(0), Relation::LessEqual, Operation::And)
        };
        let high_code = self.program.cut(high.begin);
        let low_code = self.program.cut(low.begin);
        let value_code = self.program.copy(value.begin);
        let below = self.emit(Operation::SkipIfNull(0))?;
        self.program.append(low_code);
        self.emit(Operation::Compare(first))?;
        self.program.skip_to_end(below);
        let decided = self.emit(skip)?;
        self.program.append(value_code);
        let above = self.emit(Operation::SkipIfNull(0))?;
        self.program.append(high_code);
        self.emit(Operation::Compare(second))?;
        self.program.skip_to_end(above);
        self.emit(join)?;
        self.program.skip_to_end(decided);
        Ok(())
    }

    fn list(&mut self, left: &Operand, not: bool) -> Result<(), ConditionError> {
        self.advance()?;
        self.expect(Token::Open)?;
        let mut texts = vec![self.literal()?];
        while self.take(Token::Comma)? {
            texts.push(self.literal()?);
        }
        self.expect(Token::Close)?;
        if left.kind != Kind::Property {
            return Err(ConditionError::InWithoutProperty(self.quoted(left)));
        }
        texts.sort_unstable();
        texts.dedup();
        self.emit(Operation::In { texts: texts.into(), not }).map(drop)
    }

    fn search(&mut self, left: &Operand, how: Search, not: bool) -> Result<(), ConditionError> {
        self.advance()?;
        let text = self.literal()?;
        if text.is_empty() {
            // False before anything is looked at.
            self.program.cut(left.begin);
            return self.emit(Operation::Constant(Constant::Bool(false))).map(drop);
        }
        self.emit(Operation::Search { how, text, not }).map(drop)
    }

    fn unary(&mut self) -> Compiled {
        let begin = self.program.operations();
        let from = self.next.1;
        let (kind, code) = match self.next.0 {
            Token::Plus => {
                self.advance()?;
                return self.deeper(Self::unary);
            }
            Token::Minus => (Kind::Signed, Operation::Negate),
            Token::Keyword(Keyword::Not) => (Kind::Truth, Operation::Not),
            _ => return self.primary(),
        };
        self.advance()?;
        let operand = self.deeper(Self::unary)?;
        if kind == Kind::Truth {
            self.truth(&operand)?;
        }
        self.emit(code)?;
        Ok(Operand { kind, begin, text: from..self.end })
    }

    fn primary(&mut self) -> Compiled {
        let begin = self.program.operations();
        let (token, from, to) = self.next;
        let constant = match token {
            Token::Open => {
                self.advance()?;
                let inner = self.deeper(Self::or)?;
                self.expect(Token::Close)?;
                return Ok(inner);
            }
            Token::Name(name) => {
                self.advance()?;
                self.program.load(name)?;
                return Ok(Operand { kind: Kind::Property, begin, text: from..to });
            }
            Token::Keyword(Keyword::True) => Constant::Bool(true),
            Token::Keyword(Keyword::False) => Constant::Bool(false),
            Token::Keyword(Keyword::Null) => Constant::Null,
            Token::Text(text) => Constant::Text(unquoted(text)),
            Token::Integer(digits) => integer(digits)?,
            Token::Float(digits) => float(digits)?,
            _ => return Err(self.unexpected()),
        };
        self.advance()?;
        self.emit(Operation::Constant(constant.clone()))?;
        Ok(Operand { kind: Kind::Constant(constant), begin, text: from..to })
    }

    fn deeper(&mut self, part: impl Fn(&mut Self) -> Compiled) -> Compiled {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ConditionError::TooDeep);
        }
        let compiled = part(self);
        self.depth -= 1;
        compiled
    }

    /// Makes a truth of what was compiled last. A property is one that is never true.
    fn truth(&mut self, operand: &Operand) -> Result<(), ConditionError> {
        match operand.kind {
            Kind::Property => self.emit(Operation::Truth).map(drop),
            _ if operand.is_truth() => Ok(()),
            _ => Err(ConditionError::NotBoolean(self.quoted(operand))),
        }
    }

    /// It may be more or less than something.
    fn ordered(&self, operand: &Operand) -> Result<(), ConditionError> {
        let is_text = matches!(operand.kind, Kind::Constant(Constant::Text(_)));
        if is_text || operand.is_truth() {
            return Err(ConditionError::NotOrdered(self.quoted(operand)));
        }
        Ok(())
    }

    /// What began with `left` and has just ended.
    fn joined(&self, kind: Kind, left: &Operand) -> Operand {
        Operand { kind, begin: left.begin, text: left.text.start..self.end }
    }

    fn literal(&mut self) -> Result<Box<str>, ConditionError> {
        let Token::Text(text) = self.next.0 else { return Err(self.unexpected()) };
        self.advance()?;
        Ok(unquoted(text))
    }

    fn emit(&mut self, operation: Operation) -> Result<usize, ConditionError> {
        if self.program.operations() >= OPERATIONS_MAX {
            return Err(ConditionError::TooLarge);
        }
        Ok(self.program.push(operation))
    }

    fn advance(&mut self) -> Result<(), ConditionError> {
        self.end = self.next.2;
        self.next = self.lexer.next()?;
        Ok(())
    }

    fn take(&mut self, token: Token<'_>) -> Result<bool, ConditionError> {
        let is_next = self.next.0 == token;
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn expect(&mut self, token: Token<'_>) -> Result<(), ConditionError> {
        if self.take(token)? { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> ConditionError {
        let (token, from, to) = self.next;
        let (line, column) = place(self.text, from);
        let found = if token == Token::End { "<EOF>".to_owned() } else { shortened(&self.text[from..to]) };
        ConditionError::Unexpected { line, column, found }
    }

    fn quoted(&self, operand: &Operand) -> String {
        shortened(&self.text[operand.text.clone()])
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

/// A literal's text, each pair of quotes one.
fn unquoted(text: &str) -> Box<str> {
    text.replace("''", "'").into()
}

/// The smaller of 32 and 64 bits that holds it, which also says how texts beside it are read.
fn integer(digits: &str) -> Result<Constant, ConditionError> {
    let long: i64 = digits.parse().map_err(|_| ConditionError::IntegerTooLarge(shortened(digits)))?;
    Ok(i32::try_from(long).map_or(Constant::Long(long), Constant::Int))
}

fn float(digits: &str) -> Result<Constant, ConditionError> {
    let out = |how| ConditionError::FloatOutOfRange(shortened(digits), how);
    match digits.parse::<f64>().unwrap_or(f64::NAN) {
        value if value > f64::MAX => Err(out("greater than 1.7976931348623157E308")),
        0.0 => Err(out("less than 4.9E-324")),
        value => Ok(Constant::Double(value)),
    }
}
