//! Constraint texts, and what is understood or refused.

use super::PlacementConstraints;

/// The canonical form of what is understood.
#[track_caller]
fn check(text: &str, expected: &str) {
    let constraints: PlacementConstraints = text.parse().expect("good constraints");
    assert_eq!(constraints.to_string(), expected, "{text:?}");
    let again: PlacementConstraints = expected.parse().expect("the canonical form");
    assert_eq!(again, constraints, "{text:?}");
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    let error = text.parse::<PlacementConstraints>().expect_err(text);
    assert_eq!(error.to_string(), expected, "{text:?}");
}

#[test]
fn the_forms_that_operators_write() {
    for nothing in ["", "  ", "[]", " [ ] "] {
        check(nothing, "[]");
    }
    let unique = r#"[["hostname", "UNIQUE"]]"#;
    for text in [
        unique,
        "[ [\"hostname\",\n\t\"unique\"] ]",
        r#"["hostname", "UNIQUE"]"#,
        r#"["@hostname","Unique"]"#,
        "hostname:UNIQUE",
        " @hostname : unique ",
    ] {
        check(text, unique);
    }
    assert_eq!(PlacementConstraints::default().to_string(), unique);
    check(
        "hostname:UNIQUE,rack-id:CLUSTER:rack-1,rack-id:GROUP_BY,\
         rack-id:LIKE:rack-[1-3],rack-id:UNLIKE:rack-[7-9],rack-id:MAX_PER:2",
        r#"[["hostname", "UNIQUE"], ["rack-id", "CLUSTER", "rack-1"], ["rack-id", "GROUP_BY"], ["rack-id", "LIKE", "rack-[1-3]"], ["rack-id", "UNLIKE", "rack-[7-9]"], ["rack-id", "MAX_PER", "2"]]"#,
    );
}

#[test]
fn every_operator_and_field() {
    for (text, expected) in [
        ("@zone:GROUP_BY:3", "@zone GROUP_BY 3"),
        ("zone:GROUP_BY", "zone GROUP_BY"),
        ("rack:cluster", "rack CLUSTER"),
        (
            "hostname:CLUSTER:a.specific.node.com",
            "hostname CLUSTER a.specific.node.com",
        ),
        ("@region:IS:bar", "@region IS bar"),
        ("@region:is_not:bar", "@region IS_NOT bar"),
        (
            "@hostname:LIKE:10\\.0\\.3\\.6",
            "hostname LIKE 10\\.0\\.3\\.6",
        ),
        ("rack-id:LIKE:rack-{1\\,3}", "rack-id LIKE rack-{1,3}"),
        ("rack-id:LIKE:foo\\:bar\\:baz", "rack-id LIKE foo:bar:baz"),
        ("rack:max_per:+2", "rack MAX_PER 2"),
        (r#"["rack", "MAX_PER", 2]"#, "rack MAX_PER 2"),
        (r#"["rack", "LIKE", "\u0072\\d"]"#, "rack LIKE r\\d"),
        (r#"["rack", "IS", "a, \"b\""]"#, "rack IS a, \"b\""),
        (r#"["\ud83d\ude00", "UNIQUE"]"#, "\u{1f600} UNIQUE"),
        (r#"["a:b", "IS", " c "]"#, "a:b IS  c "),
    ] {
        let constraints: PlacementConstraints = text.parse().expect(text);
        let words: Vec<String> = constraints
            .constraints()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(words, [expected], "{text:?}");
        check(text, &constraints.to_string());
    }
}

const OPERATORS: &str = "expected an operator: UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS or IS_NOT";
const FIELDS: &str =
    "expected a field: hostname, @zone, @region or the name of an attribute";

#[test]
fn wrong_words_are_named_with_their_place() {
    refuse(
        "hostname:UNIQUE,rack:FOO:r1",
        &format!("constraint 2, character 22: found \"FOO\", {OPERATORS}"),
    );
    refuse(
        "rack",
        &format!(
            "constraint 1, character 5: found the end of the constraint, {OPERATORS}"
        ),
    );
    refuse(
        "rack:",
        &format!("constraint 1, character 6: found an empty text, {OPERATORS}"),
    );
    refuse(
        ":UNIQUE",
        &format!("constraint 1, character 1: found an empty text, {FIELDS}"),
    );
    refuse(
        "hostname:UNIQUE,",
        &format!("constraint 2, character 17: found an empty text, {FIELDS}"),
    );
    refuse(
        r#"[["hostname", "UNIQUE"], []]"#,
        &format!("constraint 2, character 27: found the end of the constraint, {FIELDS}"),
    );
    refuse(
        "@host:UNIQUE",
        &format!("constraint 1, character 1: found \"@host\", {FIELDS}"),
    );
}

#[test]
fn parameters_are_those_of_the_operator() {
    refuse(
        "hostname:UNIQUE:1",
        "constraint 1, character 17: found \"1\", expected no parameter after UNIQUE",
    );
    refuse(
        r#"[["rack", "LIKE"]]"#,
        "constraint 1, character 17: found the end of the constraint, expected after LIKE \
         a regular expression",
    );
    refuse(
        "rack:UNLIKE:",
        "constraint 1, character 13: found an empty text, expected after UNLIKE a regular \
         expression",
    );
    refuse(
        "rack:IS",
        "constraint 1, character 8: found the end of the constraint, expected after IS the \
         value",
    );
    refuse(
        "rack:IS_NOT",
        "constraint 1, character 12: found the end of the constraint, expected after \
         IS_NOT the value",
    );
    refuse(
        "rack:CLUSTER:",
        "constraint 1, character 14: found an empty text, expected after CLUSTER nothing \
         or the value to share",
    );
    refuse(
        "rack:MAX_PER",
        "constraint 1, character 13: found the end of the constraint, expected after \
         MAX_PER the most members that may share a value, 1 or more",
    );
    for number in ["0", "-1", "foo", "1.5", "4294967296"] {
        refuse(
            &format!("rack:MAX_PER:{number}"),
            &format!(
                "constraint 1, character 14: found \"{number}\", expected after MAX_PER the \
                 most members that may share a value, 1 or more"
            ),
        );
    }
    refuse(
        r#"["@zone", "GROUP_BY", 0]"#,
        "constraint 1, character 23: found \"0\", expected after GROUP_BY nothing or the \
         number of different values, 1 or more",
    );
    refuse(
        "rack:LIKE:foo:bar",
        "constraint 1, character 15: found \"bar\", expected the end of the constraint: it \
         has a field, an operator and at most one parameter (with colons, a ':' or ',' \
         inside a parameter is written '\\:' or '\\,')",
    );
}

#[test]
fn bad_regular_expressions_say_why() {
    let error = "rack:LIKE:r[1".parse::<PlacementConstraints>();
    let error = error.expect_err("an open bracket").to_string();
    assert!(
        error.starts_with(
            "constraint 1, character 11: found \"r[1\", expected after LIKE a regular \
             expression ("
        ),
        "{error}"
    );
}

#[test]
fn json_is_balanced_and_nothing_follows_it() {
    for (text, expected) in [
        (
            "[",
            "constraint 1, character 2: found the end of the text, expected a text in double quotes",
        ),
        (
            r#"[["rack-id", "MAX_PER", "2""#,
            "constraint 1, character 28: found the end of the text, expected ',' and a text, or ']'",
        ),
        (
            r#"[["rack-id", "MAX_PER", "2"]"#,
            "constraint 1, character 29: found the end of the text, expected ',' and a constraint, or ']'",
        ),
        (
            r#"[["rack-id", "MAX"#,
            "constraint 1, character 18: found the end of the text, expected the '\"' that ends a text",
        ),
        (
            r#"["hostname","UNIQUE"],["#,
            "constraint 1, character 22: found \",\", expected the end of the text",
        ),
        (
            r#"[["hostname","UNIQUE"]],"#,
            "constraint 1, character 24: found \",\", expected the end of the text",
        ),
        (
            r#"[["hostname","UNIQUE"],]"#,
            "constraint 2, character 24: found \"]\", expected the next constraint in '[' and ']'",
        ),
        (
            r#"[["hostname","UNIQUE"], "rack"]"#,
            "constraint 2, character 25: found \"\\\"\", expected the next constraint in '[' and ']'",
        ),
        (
            r#"[["hostname","UNIQUE",]]"#,
            "constraint 1, character 23: found \"]\", expected a text in double quotes",
        ),
        (
            "[[hostname,UNIQUE]]",
            "constraint 1, character 3: found \"h\", expected a text in double quotes",
        ),
        (
            "[['hostname','UNIQUE']]",
            "constraint 1, character 3: found \"'\", expected a text in double quotes",
        ),
        (
            r#"[[\"hostname\",\"UNIQUE\"]]"#,
            "constraint 1, character 3: found \"\\\\\", expected a text in double quotes (they are escaped once more than needed)",
        ),
        (
            r#"[["rack","LIKE","\d"]]"#,
            "constraint 1, character 19: found \"d\", expected after '\\' one of \" \\ / b f n r t u (JSON takes a backslash in a regular expression twice: \"\\\\d\")",
        ),
        (
            r#"[["rack","IS","\ud800"]]"#,
            "constraint 1, character 17: found \"u\", expected after '\\u' the four hexadecimal digits of a character",
        ),
        (
            r#"[["rack","IS",null]]"#,
            "constraint 1, character 15: found \"n\", expected a text in double quotes",
        ),
    ] {
        refuse(text, expected);
    }
}

#[test]
fn regions_are_noticed() {
    for (text, expected) in [
        ("", false),
        ("hostname:UNIQUE,@zone:UNIQUE,region:UNIQUE", false),
        ("hostname:UNIQUE,@region:IS:north", true),
        ("@region:IS_NOT:north", true),
    ] {
        let constraints: PlacementConstraints = text.parse().expect(text);
        assert_eq!(constraints.names_region(), expected, "{text}");
    }
}

#[test]
fn constraints_are_stored_as_their_text() {
    let constraints: PlacementConstraints = "rack:LIKE:\"r\\,\\d,hostname:UNIQUE"
        .parse()
        .expect("good constraints");
    let stored = serde_json::to_string(&constraints).expect("constraints as JSON");
    assert_eq!(
        stored,
        r#""[[\"rack\", \"LIKE\", \"\\\"r,\\\\d\"], [\"hostname\", \"UNIQUE\"]]""#
    );
    let read: PlacementConstraints = serde_json::from_str(&stored).expect("stored text");
    assert_eq!(read, constraints);
    assert!(serde_json::from_str::<PlacementConstraints>("\"rack\"").is_err());

    let single = serde_json::to_string(constraints.constraints()).expect("as JSON");
    let read: Vec<super::Constraint> = serde_json::from_str(&single).expect("read again");
    assert_eq!(read, constraints.constraints());
}

#[test]
fn no_text_makes_the_reader_panic_and_all_it_reads_is_stable() {
    let pieces = [
        "[", "]", "\"", "\\", ",", ":", "hostname", "UNIQUE", "\\u00", "é", "3", " ",
    ];
    // Every text of up to five pieces.
    let mut texts = vec![String::new()];
    for _ in 0..5 {
        texts = texts
            .iter()
            .flat_map(|text| {
                let longer = pieces.iter().map(move |piece| format!("{text}{piece}"));
                std::iter::once(text.clone()).chain(longer)
            })
            .collect();
        texts.sort();
        texts.dedup();
    }
    for text in texts {
        if let Ok(constraints) = text.parse::<PlacementConstraints>() {
            check(&text, &constraints.to_string());
        }
    }
}
