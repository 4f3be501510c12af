//! The JSON form of a header, in both directions. (RocketMQ: `RemotingSerializable`, by way of fastjson)
//!
//!     {"code":105,"extFields":{"topic":"TopicA"},"flag":0,"language":"JAVA","opaque":1,
//!      "serializeTypeCurrentRPC":"JSON","version":479}
//!
//! This is read once per message, so it is written by hand: one pass, no allocation once the scratch has
//! grown. The scratch's text begins with a copy of the whole header; a string without escapes is a span of
//! that copy, a string with escapes is appended to it unescaped, and a number is a span of its digits.
//!
//! Invariants
//!  1. The scratch's text is at most twice the header: a string grows by unescaping never.
//!  2. Every span lies on character boundaries, because it begins and ends at ASCII bytes of the copy, or
//!     around a whole appended string.
//!  3. Whatever a peer nests, the reader's own stack does not grow: unknown values are skipped with a counter.
//!
//! Accepted beyond what we write: keys in any order, unknown keys, duplicate keys (the last wins), absent
//! `extFields`; ext values as strings, numbers, booleans or null (absent); numbers as strings; `language` as
//! a name or a number; raw control characters inside strings; blanks and a newline around everything.
//!
//! Source: `remoting/.../protocol/RemotingCommand.java`, `RemotingSerializable.java`.

use crate::command::{Head, HeadScratch, OutHead, VERSION};
use crate::error::HeadError;
use crate::fields::{FIELDS_MAX, Fields, Span, Value};
use crate::language;

/// How deep an ignored value may nest; deeper is refused.
const NESTING_MAX: usize = 32;

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
    fn key(&mut self) -> Result<(u32, u32), HeadError> {
        self.expect(b'"', "a key is a string")?;
        let key = self.string()?;
        self.expect(b':', "a colon follows a key")?;
        Ok(key)
    }

    /// Whether another member follows; takes the comma or the closing brace.
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

    fn value(&mut self) -> Result<Token, HeadError> {
        self.skip_blanks();
        let start = self.at;
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                return self.string().map(Token::Text);
            }
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
        let (Token::Text(span) | Token::Literal(span)) = self.value()? else { return Ok(0) };
        self.text[span.0 as usize..span.1 as usize]
            .parse()
            .map_err(|_| HeadError::Json { at, what: "a 32-bit number is expected" })
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
                    self.at += 1;
                    let unescaped = self.escape()?;
                    self.text.push(unescaped);
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

/// Writes a header. Keys are in the order in which Java writes them.
pub(crate) fn encode(head: &OutHead<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"code\":");
    push_decimal(head.code.into(), out);
    out.extend_from_slice(b",\"extFields\":{");
    for (index, (name, value)) in head.fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(name, out);
        out.push(b':');
        match value {
            Value::Text(text) => push_string(text, out),
            Value::Int(number) => {
                out.push(b'"');
                push_decimal(*number, out);
                out.push(b'"');
            }
            Value::Bool(true) => out.extend_from_slice(b"\"true\""),
            Value::Bool(false) => out.extend_from_slice(b"\"false\""),
        }
    }
    out.extend_from_slice(b"},\"flag\":");
    push_decimal(head.flag.into(), out);
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(language::name(language::OURS).as_bytes());
    out.extend_from_slice(b"\",\"opaque\":");
    push_decimal(head.opaque.into(), out);
    if let Some(remark) = head.remark {
        out.extend_from_slice(b",\"remark\":");
        push_string(remark, out);
    }
    out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    push_decimal(VERSION.into(), out);
    out.push(b'}');
}

/// A JSON string with its quotes. Control characters leave as escapes: property strings are full of them.
fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Without an early exit this is a few vector instructions, and most strings need no escape.
    if bytes.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
        push_escaped(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut run_start = 0;
    for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| needs_escape(**byte)) {
        out.extend_from_slice(&bytes[run_start..at]);
        run_start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[run_start..]);
}

/// Decimal text, formatted on the stack.
pub(crate) fn push_decimal(number: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use crate::command::{HeadFormat, HeadScratch, OutHead};
    use crate::error::HeadError;
    use crate::fields::{FIELDS_MAX, Value};
    use crate::language;
    use proptest::prelude::*;

    /// code, language, version, opaque, flag, remark, fields
    type Read = (i32, u8, i32, i32, i32, Option<String>, Vec<(String, String)>);

    fn read(head: &str) -> Result<Read, HeadError> {
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(HeadFormat::Json, head.as_bytes())?;
        let fields = head.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let remark = head.remark.map(str::to_owned);
        Ok((head.code, head.language, head.version, head.opaque, head.flag, remark, fields))
    }

    fn fields(ext: &str) -> Vec<(String, String)> {
        read(&format!("{{\"extFields\":{ext}}}")).unwrap().6
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn write(fields: &[(&str, Value<'_>)], remark: Option<&str>) -> String {
        let mut out = Vec::new();
        let head = OutHead { format: HeadFormat::Json, code: 105, opaque: 1, flag: 0, remark, fields };
        head.encode(&mut out, 0);
        String::from_utf8(out.split_off(8)).unwrap()
    }

    #[test]
    fn the_worked_example_is_written_and_read() {
        let example = "{\"code\":105,\"extFields\":{\"topic\":\"TopicA\"},\"flag\":0,\"language\":\"JAVA\",\
            \"opaque\":1,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}";
        assert_eq!(write(&[("topic", "TopicA".into())], None), example);
        assert_eq!(read(example), Ok((105, 0, 479, 1, 0, None, owned(&[("topic", "TopicA")]))));
    }

    #[test]
    fn the_frame_around_a_header_counts_it_and_the_body() {
        let mut out = vec![9];
        let head =
            OutHead { format: HeadFormat::Json, code: 105, opaque: 1, flag: 0, remark: None, fields: &[] };
        head.encode(&mut out, 5);
        let head_bytes = out.len() as u32 - 9;
        assert_eq!(out[1..5], (4 + head_bytes + 5).to_be_bytes());
        assert_eq!(out[5..9], head_bytes.to_be_bytes());
    }

    #[test]
    fn rule_01_every_ext_value_is_a_json_string() {
        let written = write(&[("queueId", 3.into()), ("offset", i64::MIN.into()), ("on", true.into())], None);
        assert!(
            written.contains("{\"queueId\":\"3\",\"offset\":\"-9223372036854775808\",\"on\":\"true\"}"),
            "{written}"
        );
    }

    #[test]
    fn rule_02_ext_values_may_be_strings_numbers_booleans_or_null() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("{}", &[]),
            (" { } ", &[]),
            ("null", &[]),
            (r#"{"e":"0"}"#, &[("e", "0")]),
            (r#"{"e":0,"sysFlag":-6}"#, &[("e", "0"), ("sysFlag", "-6")]),
            (r#"{"m":true,"k":false}"#, &[("m", "true"), ("k", "false")]),
            (r#"{"a":null,"b":"x"}"#, &[("b", "x")]),
            (r#"{"a":"x","a":null}"#, &[]),
            (r#"{"a":1.5e3}"#, &[("a", "1.5e3")]),
            (r#"{"a":{"b":[1,"]}"]},"c":""}"#, &[("a", r#"{"b":[1,"]}"]}"#), ("c", "")]),
        ];
        for (ext, expected) in table {
            assert_eq!(fields(ext), owned(expected), "{ext}");
        }
    }

    #[test]
    fn rule_03_a_header_may_lack_ext_fields_and_have_unknown_keys() {
        let bare = (34, 0, 409, 7, 0, None, vec![]);
        for head in [
            r#"{"code":34,"flag":0,"language":"JAVA","opaque":7,"version":409}"#,
            r#"{"opaque":7,"code":34,"language":"JAVA","version":409,"x":{"y":[{"code":1},"}",null,true]},"z":"\u00e9"}"#,
            "\n{ \"code\" : 34 , \"language\":\"JAVA\",\"opaque\":7,\"version\":409 }\r\n ",
            r#"{"code":"34","language":0,"opaque":"7","version":409,"flag":null,"extFields":null,"remark":null}"#,
        ] {
            assert_eq!(read(head).as_ref(), Ok(&bare), "{head}");
        }
    }

    #[test]
    fn keys_may_come_in_any_order_and_the_last_duplicate_wins() {
        let head = r#"{"extFields":{"old":"x"},"code":1,"remark":"a\"b","extFields":{"code":"5","a":"1","a":"2"},"code":2}"#;
        let (code, .., remark, fields) = read(head).unwrap();
        assert_eq!((code, remark.as_deref()), (2, Some("a\"b")));
        assert_eq!(fields, owned(&[("code", "5"), ("a", "1"), ("a", "2")]));
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(HeadFormat::Json, head.as_bytes()).unwrap();
        assert_eq!(head.fields.get("a"), Some("2"));
    }

    #[test]
    fn escapes_raw_text_and_control_characters_are_read() {
        for (text, expected) in [
            (r"KEYS\u0001k1\u0002", "KEYS\u{1}k1\u{2}"),
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"\u4e2d\u6587", "中文"),
            ("中文", "中文"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d-", "\u{fffd}-"),
            (r"\ude00", "\u{fffd}"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            ("raw\u{1}and\u{2}", "raw\u{1}and\u{2}"),
            (r"a long plain run, then \u0041 and another one", "a long plain run, then A and another one"),
        ] {
            assert_eq!(fields(&format!("{{\"i\":\"{text}\"}}")), owned(&[("i", expected)]), "{text}");
            assert_eq!(fields(&format!("{{\"{text}\":1,\"b\":2}}")), owned(&[(expected, "1"), ("b", "2")]));
        }
    }

    #[test]
    fn languages_are_names_or_numbers_and_strangers_are_other() {
        for (written, expected) in [
            ("\"GO\"", 9),
            ("\"CPP\"", language::CPP),
            ("12", 12),
            ("99", 7),
            ("\"?\"", 7),
            ("null", 7),
            ("1.5", 7),
        ] {
            assert_eq!(read(&format!("{{\"language\":{written}}}")).unwrap().1, expected, "{written}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for head in [
            "",
            "[]",
            "{",
            "{}x",
            "{}{}",
            r#"{"code"}"#,
            r#"{"code":}"#,
            r#"{"code":1,}"#,
            r#"{"code":1 "flag":2}"#,
            r#"{"code":1.5}"#,
            r#"{"code":2147483648}"#,
            r#"{"code":true}"#,
            r#"{"code":"x"}"#,
            r#"{"extFields":[]}"#,
            r#"{"extFields":"a"}"#,
            r#"{"extFields":{"a":}}"#,
            r#"{"extFields":{"a":tru}}"#,
            r#"{"extFields":{"a":"\x"}}"#,
            r#"{"extFields":{"a":"\u12g4"}}"#,
            r#"{"extFields":{"a":"\u12"#,
            r#"{"extFields":{"a":"b\"#,
            r#"{"x":"\"#,
            r#"{"x":[}"#,
            "{'code':1}",
        ] {
            assert!(matches!(read(head), Err(HeadError::Json { .. })), "{head}");
        }
        let deep = format!("{{\"x\":{}", "[".repeat(40));
        assert!(matches!(read(&deep), Err(HeadError::Json { what: "a value nests too deep", .. })));
        let mut scratch = HeadScratch::default();
        assert!(matches!(scratch.decode(HeadFormat::Json, b"{\"a\":\"\xff\"}"), Err(HeadError::NotUtf8(_))));
    }

    #[test]
    fn the_number_of_fields_is_bounded() {
        let ext = |count: usize| {
            let pairs: Vec<_> = (0..count).map(|number| format!("\"{number}\":{number}")).collect();
            format!("{{\"extFields\":{{{}}}}}", pairs.join(","))
        };
        assert_eq!(read(&ext(FIELDS_MAX)).unwrap().6.len(), FIELDS_MAX);
        assert_eq!(read(&ext(FIELDS_MAX + 1)), Err(HeadError::TooManyFields { max: FIELDS_MAX }));
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = write(&[("i", "a\u{1}中\u{2}".into()), ("n", 7.into())], Some("no \"such\" topic"));
        for (at, _) in whole.char_indices() {
            assert!(read(&whole[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn a_scratch_is_clean_for_the_next_header() {
        let mut scratch = HeadScratch::default();
        let first = br#"{"extFields":{"a":"\u0041"},"remark":"r"}"#;
        assert_eq!(scratch.decode(HeadFormat::Json, first).unwrap().fields.get("a"), Some("A"));
        let second = scratch.decode(HeadFormat::Json, br#"{"code":3}"#).unwrap();
        assert_eq!((second.fields.get("a"), second.remark, second.code), (None, None, 3));
    }

    proptest! {
        #[test]
        fn any_header_comes_back_as_it_was(
            code: i32, opaque: i32, flag: i32,
            remark in proptest::option::of(".{0,40}"),
            pairs in proptest::collection::vec((".{0,12}", ".{0,40}"), 0..20),
        ) {
            let fields: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str().into())).collect();
            let mut out = Vec::new();
            let head = OutHead { format: HeadFormat::Json, code, opaque, flag, remark: remark.as_deref(), fields: &fields };
            head.encode(&mut out, 0);
            let back = read(std::str::from_utf8(&out[8..]).unwrap()).unwrap();
            prop_assert_eq!(back, (code, language::OURS, 479, opaque, flag, remark, pairs));
            // What we write is what any other JSON reader reads.
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&out[8..]).is_ok());
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in "[{}\\[\\]\",:\\\\utrfalsenxcodeF0-9 ]{0,60}") {
            let _ = read(&text);
        }
    }
}
