//! Reading a JSON header: one pass, no allocation once the scratch has grown.
//!
//! The scratch's text begins with a copy of the whole header; a string without escapes is a span of that copy, a
//! string with escapes is appended to it unescaped, and a number is a span of its digits.
//!
//! Invariants
//!  1. The scratch's text is at most twice the header: a string grows by unescaping never.
//!  2. Every span lies on character boundaries, because it begins and ends at ASCII bytes of the copy, or around a
//!     whole appended string.
//!  3. Whatever a peer nests, the reader's own stack does not grow: unknown values are skipped with a counter.

use crate::command::{Head, HeadScratch};
use crate::error::HeadError;
use crate::fields::{FIELDS_MAX, Fields, Span};
use crate::language;

/// How deep an ignored value may nest; deeper is refused.
const NESTING_MAX: usize = 32;

/// Any number of so many digits has fewer than 31 bits.
const SHORT_NUMBER_DIGITS_MAX: usize = 8;

/// Reads a header into the scratch and borrows it from there.
pub(crate) fn decode<'a>(scratch: &'a mut HeadScratch, input: &[u8]) -> Result<Head<'a>, HeadError> {
    let input = std::str::from_utf8(input).map_err(|_| HeadError::NotUtf8("the header"))?;
    scratch.text.push_str(input);
    let mut reader = Reader { bytes: input.as_bytes(), input, at: 0, text: &mut scratch.text };
    let found = reader.head(&mut scratch.spans)?;
    let text = scratch.text.as_str();
    Ok(Head {
        code: found.code,
        language: found.language,
        version: found.version,
        opaque: found.opaque,
        flag: found.flag,
        remark: found.remark.map(|(start, end)| &text[start as usize..end as usize]),
        fields: Fields { text, spans: &scratch.spans },
    })
}

/// Everything of a header but its fields.
struct Found {
    code: i32,
    language: u8,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<(u32, u32)>,
}

/// A value met where any kind is allowed. Positions are in the scratch's text.
enum Token {
    Text((u32, u32)),
    /// The literal's own letters: a number, `true`, `false`, or a whole nested value.
    Literal((u32, u32)),
    Null,
}

struct Reader<'i, 't> {
    bytes: &'i [u8],
    input: &'i str,
    at: usize,
    /// Starts with a copy of `input`; unescaped strings follow.
    text: &'t mut String,
}

impl Reader<'_, '_> {
    fn head(&mut self, spans: &mut Vec<Span>) -> Result<Found, HeadError> {
        let mut found =
            Found { code: 0, language: language::OTHER, version: 0, opaque: 0, flag: 0, remark: None };
        self.expect(b'{', "a header is an object")?;
        let mut more = !self.take(b'}');
        while more {
            let key = self.key()?;
            match &self.text.as_bytes()[key.0 as usize..key.1 as usize] {
                b"code" => found.code = self.number()?,
                b"flag" => found.flag = self.number()?,
                b"opaque" => found.opaque = self.number()?,
                b"version" => found.version = self.number()?,
                b"language" => found.language = self.language()?,
                b"extFields" => self.fields(spans)?,
                b"remark" => {
                    found.remark = match self.value()? {
                        Token::Text(span) | Token::Literal(span) => Some(span),
                        Token::Null => None,
                    }
                }
                _ => self.skip_value()?,
            }
            more = self.more()?;
        }
        self.skip_blanks();
        if self.at < self.bytes.len() {
            return Err(self.error("bytes after the header's object"));
        }
        Ok(found)
    }

    /// The object of parameters. A second one replaces the first, as a duplicate key does.
    fn fields(&mut self, spans: &mut Vec<Span>) -> Result<(), HeadError> {
        spans.clear();
        self.skip_blanks();
        if self.peek() == Some(b'n') {
            return self.word("null");
        }
        self.expect(b'{', "extFields is an object")?;
        let mut more = !self.take(b'}');
        while more {
            let key = self.key()?;
            match self.value()? {
                Token::Text(value) | Token::Literal(value) => {
                    if spans.len() == FIELDS_MAX {
                        return Err(HeadError::TooManyFields { max: FIELDS_MAX });
                    }
                    spans.push(Span { key, value });
                }
                Token::Null => self.forget(spans, key),
            }
            more = self.more()?;
        }
        Ok(())
    }

    /// A null after a value of the same name makes the name absent.
    fn forget(&self, spans: &mut Vec<Span>, key: (u32, u32)) {
        let text = self.text.as_bytes();
        let name = &text[key.0 as usize..key.1 as usize];
        spans.retain(|span| text[span.key.0 as usize..span.key.1 as usize] != *name);
    }

    /// A key and its colon.
    #[inline(always)]
    fn key(&mut self) -> Result<(u32, u32), HeadError> {
        // Most keys of the messages that matter are one letter: `"a":`.
        if let Some([b'"', letter, b'"', b':']) = self.bytes.get(self.at..self.at + 4)
            && !matches!(letter, b'"' | b'\\')
        {
            let start = self.at as u32 + 1;
            self.at += 4;
            return Ok((start, start + 1));
        }
        self.expect(b'"', "a key is a string")?;
        let key = self.string()?;
        self.expect(b':', "a colon follows a key")?;
        Ok(key)
    }

    /// Whether another member follows; takes the comma or the closing brace.
    #[inline(always)]
    fn more(&mut self) -> Result<bool, HeadError> {
        self.skip_blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.error("a comma or a closing brace follows a value")),
        }
    }

    #[inline(always)]
    fn value(&mut self) -> Result<Token, HeadError> {
        self.skip_blanks();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return self.string().map(Token::Text);
        }
        self.literal()
    }

    /// Any value but a string.
    fn literal(&mut self) -> Result<Token, HeadError> {
        let start = self.at;
        match self.peek() {
            Some(b'n') => {
                self.word("null")?;
                return Ok(Token::Null);
            }
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'-' | b'0'..=b'9') => self.digits(),
            Some(b'{' | b'[') => self.skip_value()?,
            _ => return Err(self.error("a value is missing")),
        }
        Ok(Token::Literal((start as u32, self.at as u32)))
    }

    /// A whole number; a string of digits is taken as well, null is 0.
    fn number(&mut self) -> Result<i32, HeadError> {
        let at = self.at;
        if let Some(number) = self.short_number() {
            return Ok(number);
        }
        let (Token::Text(span) | Token::Literal(span)) = self.value()? else { return Ok(0) };
        self.text[span.0 as usize..span.1 as usize]
            .parse()
            .map_err(|_| HeadError::Json { at, what: "a 32-bit number is expected" })
    }

    /// A number of few digits, with nothing but a separator behind it, is there. Nearly every number of a header is such.
    #[inline(always)]
    fn short_number(&mut self) -> Option<i32> {
        let mut number = 0;
        for digits in 0..=SHORT_NUMBER_DIGITS_MAX {
            match self.bytes.get(self.at + digits) {
                Some(digit @ b'0'..=b'9') if digits < SHORT_NUMBER_DIGITS_MAX => {
                    number = number * 10 + i32::from(digit - b'0')
                }
                Some(b',' | b'}') if digits > 0 => {
                    self.at += digits;
                    return Some(number);
                }
                _ => return None,
            }
        }
        None
    }

    fn language(&mut self) -> Result<u8, HeadError> {
        Ok(match self.value()? {
            Token::Text(span) => language::from_name(&self.text[span.0 as usize..span.1 as usize]),
            Token::Literal(span) => self.text[span.0 as usize..span.1 as usize]
                .parse()
                .map_or(language::OTHER, language::from_number),
            Token::Null => language::OTHER,
        })
    }

    /// A string's content, from after its opening quote to after its closing one.
    #[inline(always)]
    fn string(&mut self) -> Result<(u32, u32), HeadError> {
        let start = self.at;
        self.at += plain_run(&self.bytes[start..]);
        match self.peek() {
            Some(b'"') => {
                let end = self.at;
                self.at += 1;
                Ok((start as u32, end as u32))
            }
            Some(_) => self.escaped_string(start),
            None => Err(self.error("a string has no end")),
        }
    }

    /// The same from its first backslash on: the content is appended to the text.
    #[inline(never)]
    fn escaped_string(&mut self, start: usize) -> Result<(u32, u32), HeadError> {
        let span_start = self.text.len() as u32;
        let mut run_start = start;
        loop {
            self.text.push_str(&self.input[run_start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((span_start, self.text.len() as u32));
                }
                Some(_) => {
                    // What parts properties is written as \u0001 and \u0002.
                    if let Some([b'\\', b'u', b'0', b'0', b'0', digit @ b'0'..=b'9']) =
                        self.bytes.get(self.at..self.at + 6)
                    {
                        self.at += 6;
                        self.text.push(char::from(digit - b'0'));
                    } else {
                        self.at += 1;
                        let unescaped = self.escape()?;
                        self.text.push(unescaped);
                    }
                }
                None => return Err(self.error("a string has no end")),
            }
            run_start = self.at;
            self.at += plain_run(&self.bytes[run_start..]);
        }
    }

    /// The character that an escape stands for, from after its backslash.
    fn escape(&mut self) -> Result<char, HeadError> {
        let letter = self.peek().ok_or_else(|| self.error("a string has no end"))?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => {
                self.at -= 1;
                return Err(self.error("an unknown escape"));
            }
        })
    }

    /// `XXXX`, or `XXXX\uXXXX` for a pair. Half a pair is no character: it becomes U+FFFD.
    fn unicode_escape(&mut self) -> Result<char, HeadError> {
        let unit = self.hex4()?;
        if !(0xD800..0xE000).contains(&unit) {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if unit < 0xDC00 && self.bytes.get(self.at..self.at + 2) == Some(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xDC00..0xE000).contains(&low) {
                let scalar = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, HeadError> {
        let digits =
            self.bytes.get(self.at..self.at + 4).ok_or_else(|| self.error("an escape has no end"))?;
        let mut unit = 0;
        for digit in digits {
            let nibble =
                char::from(*digit).to_digit(16).ok_or_else(|| self.error("a hex digit is expected"))?;
            unit = unit << 4 | nibble;
        }
        self.at += 4;
        Ok(unit)
    }

    /// Passes over a value of any shape without keeping it.
    fn skip_value(&mut self) -> Result<(), HeadError> {
        let mut depth = 0usize;
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'{' | b'[') => {
                    self.at += 1;
                    depth += 1;
                    if depth > NESTING_MAX {
                        return Err(self.error("a value nests too deep"));
                    }
                }
                Some(b'}' | b']') if depth > 0 => {
                    self.at += 1;
                    depth -= 1;
                }
                Some(b',' | b':') if depth > 0 => self.at += 1,
                Some(b'"') => {
                    self.at += 1;
                    self.skip_string()?;
                }
                Some(b'n') => self.word("null")?,
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'-' | b'0'..=b'9') => self.digits(),
                _ => return Err(self.error("a value is missing")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Passes over a string's content and closing quote, unescaping nothing.
    fn skip_string(&mut self) -> Result<(), HeadError> {
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                // The escaped byte may be a quote; what kind of escape it is does not matter here.
                Some(_) if self.at + 1 < self.bytes.len() => self.at += 2,
                _ => return Err(self.error("a string has no end")),
            }
        }
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), HeadError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.error("an unknown word"))
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), HeadError> {
        self.skip_blanks();
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.error(what))
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn error(&self, what: &'static str) -> HeadError {
        HeadError::Json { at: self.at, what }
    }
}

/// How many bytes come before the next quote or backslash. Looks at eight bytes at a time.
#[inline(always)]
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    // The top bit of a byte is set where that byte of `word` is zero; above the first such byte it may
    // be set wrongly, which does not matter because only the first is used.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let mut words = bytes.chunks_exact(8);
    let mut run = 0;
    for eight in words.by_ref() {
        let word = eight.try_into().map_or(0, u64::from_le_bytes);
        let stops = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5C));
        if stops != 0 {
            return run + stops.trailing_zeros() as usize / 8;
        }
        run += 8;
    }
    let tail = words.remainder();
    run + tail.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(tail.len())
}
