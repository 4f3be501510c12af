//! What conditions mean, as tables; what Apache's evaluator says of the same rows is compared in `tests/compat`.

use super::*;

/// The properties of every row: absent are `none` and `none2`.
const PROPERTIES: &[(&str, &str)] = &[
    ("a", "5"),
    ("b", "x"),
    ("d", "5.5"),
    ("n", "-7"),
    ("big", "3000000000"),
    ("yes", "tRuE"),
    ("no", "false"),
    ("spaced", " 5 "),
    ("nan", "NaN"),
    ("quote", "it's"),
    ("a2", "5"),
    ("wide", "größe"),
];

fn encoded(properties: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    properties
        .iter()
        .for_each(|(name, value)| ringmq_wire::record::properties::push(name, value, &mut bytes));
    bytes
}

fn value(text: &str) -> Option<bool> {
    let condition = Condition::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    condition.program.evaluate(&encoded(PROPERTIES))
}

const TRUE: Option<bool> = Some(true);
const FALSE: Option<bool> = Some(false);
const UNKNOWN: Option<bool> = None;

#[test]
fn a_condition_is_true_false_or_unknown() {
    #[rustfmt::skip]
    let table: &[(&str, Option<bool>)] = &[
        // Equality: the constant says how the property is read.
        ("a = 5", TRUE), ("a = '5'", TRUE), ("a = '5.0'", FALSE), ("a = 5.5", FALSE), ("d = 5.5", TRUE), ("5 = a", TRUE),
        ("5.5 = d", TRUE), ("big = 3000000000", TRUE), ("big = 3000000000L", TRUE), ("a <> 6", TRUE), ("b = 'x'", TRUE),
        ("b <> 'x'", FALSE), ("quote = 'it''s'", TRUE), ("wide = 'größe'", TRUE), ("A = 5", UNKNOWN),
        // What is no number lets nothing pass.
        ("b = 5", UNKNOWN), ("d = 5", UNKNOWN), ("d > 5", UNKNOWN), ("big > 5", UNKNOWN), ("NOT (b = 5)", UNKNOWN),
        ("b = 5 OR a = 5", UNKNOWN), ("a = 5 OR b = 5", TRUE), ("a = 6 AND b = 5", FALSE), ("spaced = 5", UNKNOWN),
        ("spaced = 5.5", FALSE), ("spaced < 5.5", TRUE),
        // Absent.
        ("none = 5", UNKNOWN), ("none <> 5", UNKNOWN), ("5 = none", FALSE), ("5 <> none", TRUE), ("none = none2", TRUE),
        ("none > 5", UNKNOWN), ("5 > none", UNKNOWN), ("none > none2", UNKNOWN), ("none BETWEEN 1 AND 2", UNKNOWN),
        ("none IS NULL", TRUE), ("none IS NOT NULL", FALSE), ("a IS NULL", FALSE), ("a IS NOT NULL", TRUE),
        ("NULL IS NULL", TRUE), ("5 IS NULL", FALSE), ("(a > 1) IS NULL", FALSE), ("(none > 1) IS NULL", TRUE),
        // Order.
        ("a > 4", TRUE), ("a >= 5", TRUE), ("a < 5", FALSE), ("a <= 5", TRUE), ("n < -6", TRUE), ("n > -7", FALSE),
        ("4 < a", TRUE), ("a > d", FALSE), ("a < d", TRUE), ("a > b", UNKNOWN), ("big > 2147483648", TRUE),
        ("nan > 1.5", TRUE), ("nan = 1.5", FALSE), ("+a > 4", TRUE), ("-a < 4", UNKNOWN), ("- -3 < a", TRUE), ("a > -(3)", TRUE),
        ("5 > 4", TRUE), ("5 > 4.5", TRUE), ("3000000000 > 5", TRUE), ("9007199254740993 > 9007199254740992.5", FALSE),
        // Between.
        ("a BETWEEN 1 AND 5", TRUE), ("a BETWEEN 6 AND 9", FALSE), ("a NOT BETWEEN 6 AND 9", TRUE), ("a between 5 and 5", TRUE),
        ("a BETWEEN n AND d", TRUE), ("5 BETWEEN 1 AND 9", TRUE), ("b BETWEEN 1 AND 2", UNKNOWN), ("a BETWEEN -3 AND -5", FALSE),
        ("a BETWEEN none AND 9", UNKNOWN), ("a BETWEEN none AND 3", FALSE), ("a NOT BETWEEN none AND 3", TRUE),
        ("a BETWEEN 6 AND b", FALSE), ("a BETWEEN 1 AND b", UNKNOWN),
        // Lists of texts.
        ("b IN ('x')", TRUE), ("b IN ('y', 'x', 'z', 'u', 'v', 'w')", TRUE), ("b IN ('y')", FALSE), ("b NOT IN ('y')", TRUE),
        ("a IN ('5')", TRUE), ("none IN ('x')", UNKNOWN), ("none NOT IN ('x')", UNKNOWN), ("(b) IN ('x', 'x')", TRUE),
        // Parts of texts.
        ("quote CONTAINS '''s'", TRUE), ("quote STARTSWITH 'it'", TRUE), ("quote ENDSWITH 'it'", FALSE),
        ("quote NOT CONTAINS 'it'", FALSE), ("quote NOT STARTSWITH 'x'", TRUE), ("quote NOT ENDSWITH '''s'", FALSE),
        ("none CONTAINS 'x'", FALSE), ("none NOT CONTAINS 'x'", FALSE), ("b CONTAINS ''", FALSE), ("b NOT CONTAINS ''", FALSE),
        ("5 CONTAINS '5'", FALSE), ("'abc' CONTAINS 'b'", TRUE), ("wide CONTAINS 'öß'", TRUE), ("(b = 5) ENDSWITH ''", FALSE),
        // Truths.
        ("yes = TRUE", TRUE), ("no = TRUE", FALSE), ("b = FALSE", TRUE), ("TRUE = yes", UNKNOWN), ("TRUE", TRUE), ("NOT TRUE", FALSE),
        ("NULL", UNKNOWN), ("NOT NULL", UNKNOWN), ("TRUE = FALSE", FALSE), ("5 = TRUE", FALSE), ("(a > 1) = (b = 'x')", TRUE),
        ("(a > 1) = 5", FALSE), ("yes = (a > 1)", TRUE), ("yes = (none > 1)", FALSE), ("(none > 1) = yes", UNKNOWN),
        ("yes", FALSE), ("none", UNKNOWN), ("NOT yes", TRUE), ("yes OR TRUE", TRUE), ("yes AND TRUE", FALSE),
        // Three values.
        ("TRUE AND NULL", UNKNOWN), ("FALSE AND NULL", FALSE), ("NULL AND FALSE", FALSE), ("TRUE OR NULL", TRUE),
        ("NULL OR TRUE", TRUE), ("FALSE OR NULL", UNKNOWN), ("NULL OR NULL", UNKNOWN), ("NOT (none = 1) OR a = 5", TRUE),
        // Grammar.
        ("a = 5 OR a = 6 AND b = 'y'", TRUE), ("(a = 5 OR a = 6) AND b = 'y'", FALSE), ("NOT a = 5", FALSE),
        ("NOT (a = 6) AND NOT NOT (a = 5)", TRUE), ("a = 5 = TRUE", TRUE), ("a = 5 and /* so */ b = 'x' -- end\n", TRUE),
        ("a = 5 whatever follows ( 'is not read", TRUE), ("a = 5 NOTHING", TRUE), ("a = 007", FALSE), ("a = 5)", TRUE),
    ];
    for (text, expected) in table {
        assert_eq!(value(text), *expected, "{text}");
    }
}

#[test]
fn of_a_property_that_is_there_twice_the_last_counts_and_empty_ones_are_not_there() {
    let condition = Condition::compile("a = 1").unwrap();
    for (properties, admitted) in [
        (&b"a\x011\x02"[..], true),
        (b"a\x011", true),
        (b"a\x012\x02a\x011\x02", true),
        (b"a\x011\x02a\x012\x02", false),
        (b"a\x011\x02a\x01\x02", true),
        (b"\x02\x02a\x011", true),
        (b"ab\x011", false),
        (b"a", false),
        (b"", false),
        (b"a\x011\x01", false),
        (b"a\x01\xff", false),
    ] {
        assert_eq!(condition.admits(properties), admitted, "{}", properties.escape_ascii());
    }
}

#[test]
fn what_is_no_condition_is_refused_in_apaches_words() {
    let many = "a OR ".repeat(TEXT_BYTES_MAX / 5 - 1) + "a";
    let doubling = (0..20).fold("a".to_owned(), |inner, _| format!("-({inner} BETWEEN 1 AND 2)"));
    #[rustfmt::skip]
    let table: &[(&str, &str)] = &[
        ("",                       "Encountered \"<EOF>\" at line 1, column 1."),
        ("a = ",                   "Encountered \"<EOF>\" at line 1, column 5."),
        ("a > > 1",                "Encountered \">\" at line 1, column 5."),
        ("a NOT 5",                "Encountered \"5\" at line 1, column 7."),
        ("a IS 5",                 "Encountered \"5\" at line 1, column 6."),
        ("a IN ()",                "Encountered \")\" at line 1, column 7."),
        ("a IN (5)",               "Encountered \"5\" at line 1, column 7."),
        ("a CONTAINS b",           "Encountered \"b\" at line 1, column 12."),
        ("(a = 1",                 "Encountered \"<EOF>\" at line 1, column 7."),
        ("a BETWEEN 1",            "Encountered \"<EOF>\" at line 1, column 12."),
        ("a = 1 AND",              "Encountered \"<EOF>\" at line 1, column 10."),
        ("a = 1 #",                "Lexical error at line 1, column 7.  Encountered: \"#\" (35)"),
        ("a = 'x",                 "Lexical error at line 1, column 5.  Encountered: <EOF>"),
        ("a != 1",                 "Lexical error at line 1, column 3.  Encountered: \"!\" (33)"),
        ("5",                      "Expression will not result in a boolean value: 5"),
        ("'x'",                    "Expression will not result in a boolean value: 'x'"),
        ("-a",                     "Expression will not result in a boolean value: -a"),
        ("5 AND TRUE",             "Expression will not result in a boolean value: 5"),
        ("NOT 5",                  "Expression will not result in a boolean value: 5"),
        ("a > 'x'",                "Value ''x'' cannot be compared."),
        ("TRUE < a",               "Value 'TRUE' cannot be compared."),
        ("a > NULL",               "Value 'NULL' cannot be compared."),
        ("NOT a > 1",              "Value 'NOT a' cannot be compared."),
        ("a BETWEEN 'a' AND 'b'",  "Value ''a'' cannot be compared."),
        ("a = NULL",               "'NULL' cannot be compared."),
        ("NULL = a",               "'NULL' cannot be compared."),
        ("TRUE = 5",               "'TRUE' cannot be compared with '5'"),
        ("a BETWEEN 5 AND 1",      "Illegal values of between, left value(5) must less than or equal to right value(1)"),
        ("a BETWEEN NULL AND 1",   "Illegal values of between, values can not be null!"),
        ("5 IN ('5')",             "Expected a property for In expression, got: 5"),
        ("a > 9223372036854775808", "For input string: \"9223372036854775808\""),
        ("a > 0.0",                "0.0 is less than 4.9E-324"),
        ("a > 1E999",              "1E999 is greater than 1.7976931348623157E308"),
        (&many,                    "the condition needs more than 2048 operations; make it simpler"),
        (&doubling,                "the condition needs more than 2048 operations; make it simpler"),
        (&"(".repeat(99),          "the condition has more than 64 parentheses or signs within each other"),
        (&"- ".repeat(99),         "the condition has more than 64 parentheses or signs within each other"),
        (&" ".repeat(TEXT_BYTES_MAX + 1), "the condition has 16385 bytes, of at most 16384; use several subscriptions"),
    ];
    for (text, expected) in table {
        let refused = Condition::compile(text).expect_err(text);
        assert_eq!(refused.to_string(), *expected, "{text:.80}");
    }
}

#[test]
fn many_properties_and_many_values_at_once_are_no_special_case() {
    let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    let condition = names.iter().map(|name| format!("{name} = '{name}'")).collect::<Vec<_>>().join(" AND ");
    let properties: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &**name)).collect();
    assert!(Condition::compile(&condition).unwrap().admits(&encoded(&properties)));
    assert!(!Condition::compile(&condition).unwrap().admits(&encoded(&properties[1..])));
    let nested = (0..30).fold("a = 5".to_owned(), |inner, _| format!("TRUE = (TRUE AND ({inner}))"));
    assert_eq!(value(&nested), TRUE);
}
