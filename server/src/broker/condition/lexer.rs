//! A condition's words and signs. Pure.
//!
//! Always the longest that is one: `007` is three numbers, `5E` a number and a property, `--` a comment if its line ends.
//!
//! Source: the tokens of `SelectorParser.jj`.

use super::ConditionError;

/// One word or sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A word of the language.
    Keyword(Keyword),
    /// The name of a property.
    Name(&'a str),
    /// Digits; those of a suffix L are cut off.
    Integer(&'a str),
    /// A number with a point or an exponent.
    Float(&'a str),
    /// What is between the quotes, in which each quote is two.
    Text(&'a str),
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `(`
    Open,
    /// `,`
    Comma,
    /// `)`
    Close,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// Nothing more.
    End,
}

/// Words in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
}

const KEYWORDS: [(&str, Keyword); 12] = [
    ("NOT", Keyword::Not),
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("BETWEEN", Keyword::Between),
    ("IN", Keyword::In),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
    ("NULL", Keyword::Null),
    ("IS", Keyword::Is),
    ("CONTAINS", Keyword::Contains),
    ("STARTSWITH", Keyword::StartsWith),
    ("ENDSWITH", Keyword::EndsWith),
];

const SIGNS: [(&str, Token<'static>); 11] = [
    ("<>", Token::NotEqual),
    (">=", Token::GreaterEqual),
    ("<=", Token::LessEqual),
    ("=", Token::Equal),
    (">", Token::Greater),
    ("<", Token::Less),
    ("(", Token::Open),
    (",", Token::Comma),
    (")", Token::Close),
    ("+", Token::Plus),
    ("-", Token::Minus),
];

/// Reads a text token by token.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Where the next token is looked for.
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The next token, and where it begins and ends.
    pub fn next(&mut self) -> Result<(Token<'a>, usize, usize), ConditionError> {
        self.skip();
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return Ok((Token::End, self.at, self.at));
        }
        let (token, len) = word(rest).or_else(|| sign(rest)).ok_or_else(|| self.lexical())?;
        let begin = self.at;
        self.at += len;
        Ok((token, begin, self.at))
    }

    /// Passes blanks and comments.
    fn skip(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
            let comment = if rest.starts_with("--") {
                rest.find(['\n', '\r']).map(|end| end + 1)
            } else {
                rest.strip_prefix("/*").and_then(|rest| rest.find("*/")).map(|end| 2 + end + 2)
            };
            match blanks.max(comment.unwrap_or(0)) {
                0 => return,
                passed => self.at += passed,
            }
        }
    }

    fn lexical(&self) -> ConditionError {
        let (line, column) = place(self.text, self.at);
        let rest = &self.text[self.at..];
        let found = match rest.chars().next() {
            // A quote whose partner is missing: what is missed is at the end.
            Some('\'') | None => "<EOF>".to_owned(),
            Some(other) => format!("\"{other}\" ({})", u32::from(other)),
        };
        ConditionError::Lexical { line, column, found }
    }
}

/// Line and column, both from 1.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn sign(rest: &str) -> Option<(Token<'static>, usize)> {
    let (sign, token) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign))?;
    Some((*token, sign.len()))
}

fn word(rest: &str) -> Option<(Token<'_>, usize)> {
    match rest.as_bytes()[0] {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => {
            let len = length(rest, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
            let name = &rest[..len];
            let keyword = KEYWORDS.iter().find(|(keyword, _)| name.eq_ignore_ascii_case(keyword));
            Some((keyword.map_or(Token::Name(name), |(_, keyword)| Token::Keyword(*keyword)), len))
        }
        b'\'' => {
            // It ends at the first quote that no other follows; if there is none, at the last that may be its end.
            let (mut end, mut at) = (None, 1);
            while let Some(quote) = rest[at..].find('\'') {
                at += quote + 1;
                end = Some(at);
                if !rest[at..].starts_with('\'') {
                    break;
                }
                at += 1;
            }
            end.map(|end| (Token::Text(&rest[1..end - 1]), end))
        }
        b'0'..=b'9' | b'.' => number(rest),
        _ => None,
    }
}

fn number(rest: &str) -> Option<(Token<'_>, usize)> {
    let digits = |from: usize| length(&rest[from..], |byte| byte.is_ascii_digit());
    let whole = digits(0);
    let mut len = whole;
    if rest[whole..].starts_with('.') {
        let fraction = digits(whole + 1);
        if whole + fraction > 0 {
            len = whole + 1 + fraction;
        }
    }
    if len == 0 {
        return None;
    }
    if rest[len..].starts_with(['e', 'E']) {
        let signed = usize::from(rest[len + 1..].starts_with(['+', '-']));
        let exponent = digits(len + 1 + signed);
        if exponent > 0 {
            len += 1 + signed + exponent;
        }
    }
    if len > whole {
        return Some((Token::Float(&rest[..len]), len));
    }
    if rest.starts_with('0') {
        return Some((Token::Integer("0"), 1));
    }
    let suffix = usize::from(rest[whole..].starts_with(['l', 'L']));
    Some((Token::Integer(&rest[..whole]), whole + suffix))
}

fn length(rest: &str, belongs: impl Fn(u8) -> bool) -> usize {
    rest.bytes().position(|byte| !belongs(byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token<'_>>, ConditionError> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.next()?.0 {
                Token::End => return Ok(tokens),
                token => tokens.push(token),
            }
        }
    }

    #[test]
    fn the_longest_token_is_taken() {
        use Token::*;
        #[rustfmt::skip]
        let table: &[(&str, &[Token<'_>])] = &[
            ("",                    &[]),
            (" \t\r\n\x0c",         &[]),
            ("a>=5",                &[Name("a"), GreaterEqual, Integer("5")]),
            ("$_a1 nOt isnot",      &[Name("$_a1"), Keyword(super::Keyword::Not), Name("isnot")]),
            ("007",                 &[Integer("0"), Integer("0"), Integer("7")]),
            ("0L 5L 5l5",           &[Integer("0"), Name("L"), Integer("5"), Integer("5"), Integer("5")]),
            ("5. .5 5.5e-3 5E10",   &[Float("5."), Float(".5"), Float("5.5e-3"), Float("5E10")]),
            ("5E 5e+ 00.5 1.5.5",   &[Integer("5"), Name("E"), Integer("5"), Name("e"), Plus, Float("00.5"), Float("1.5"), Float(".5")]),
            ("'' 'it''s' '''' 'é'", &[Text(""), Text("it''s"), Text("''"), Text("é")]),
            ("<><=>=<>",            &[NotEqual, LessEqual, GreaterEqual, NotEqual]),
            ("a--b\nc",             &[Name("a"), Name("c")]),
            ("a--b",                &[Name("a"), Minus, Minus, Name("b")]),
            ("a/* * / **/b/**/",    &[Name("a"), Name("b")]),
        ];
        for (text, expected) in table {
            assert_eq!(tokens(text).as_deref(), Ok(*expected), "{text:?}");
        }
    }

    #[test]
    fn what_begins_nothing_is_named_with_its_place() {
        let table = [
            ("#", (1, 1, "\"#\" (35)")),
            ("a =\n é", (2, 2, "\"é\" (233)")),
            ("'open", (1, 1, "<EOF>")),
            ("'open''", (1, 7, "<EOF>")),
            ("'x'' y", (1, 4, "<EOF>")),
            ("a.b .", (1, 2, "\".\" (46)")),
            ("a /* b", (1, 3, "\"/\" (47)")),
            ("a != 1", (1, 3, "\"!\" (33)")),
        ];
        for (text, (line, column, found)) in table {
            let expected = ConditionError::Lexical { line, column, found: found.into() };
            assert_eq!(tokens(text), Err(expected), "{text:?}");
        }
    }
}
