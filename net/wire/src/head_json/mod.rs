//! The JSON form of a header, in both directions. (RocketMQ: `RemotingSerializable`, by way of fastjson)
//!
//!     {"code":105,"extFields":{"topic":"TopicA"},"flag":0,"language":"JAVA","opaque":1,
//!      "serializeTypeCurrentRPC":"JSON","version":479}
//!
//! This happens once or twice per message, so both directions are written by hand.
//!
//! Invariants
//!  1. Every ext value leaves as a string: Go refuses a header with any other, C++ ignores the value.
//!  2. `extFields` is always written, even empty: Java dereferences it.
//!  3. Control characters leave as escapes.
//!
//! Accepted beyond what we write: keys in any order, unknown keys, duplicate keys (the last wins), absent
//! `extFields`; ext values as strings, numbers, booleans or null (absent); numbers as strings; `language` as
//! a name or a number; raw control characters inside strings; blanks and a newline around everything.
//!
//! Source: `remoting/.../protocol/RemotingCommand.java`, `RemotingSerializable.java`.

mod reader;
mod writer;

pub(crate) use reader::decode;
pub(crate) use writer::{encode, push_decimal};

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
    fn numbers_of_every_length_are_read() {
        for number in ["0", "-1", "12345678", "123456789", "2147483647", "-2147483648", "00000000012"] {
            let expected: i32 = number.parse().unwrap();
            for end in ["}", ",\"x\":1}", " }", " , \"x\":1}"] {
                assert_eq!(
                    read(&format!("{{\"opaque\":{number}{end}")).unwrap().3,
                    expected,
                    "{number}{end}"
                );
            }
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
