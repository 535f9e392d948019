use proptest::prelude::*;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::plan::{Case, Expansion, FilePermission, Object, Owner, Translation, Verification};
use crate::reason::{Explained as _, Reason};
use crate::secrets::SecretValue;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name(&'static str);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "secret {:?}", self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Nowhere;

impl std::fmt::Display for Nowhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nowhere")
    }
}

impl Address for Name {
    type Place = Nowhere;

    fn place(&self) -> &Nowhere {
        &Nowhere
    }

    fn is_pinned(&self) -> bool {
        false
    }

    fn is_of(&self, object: &str) -> bool {
        self.0 == object
    }
}

/// Renders one secret through `expressions`, each into a file of its own name.
fn pick_all(secret: &str, expressions: &[&str], max: usize) -> Result<Vec<String>, RenderError> {
    let file = |(index, expression): (usize, &&str)| PlannedFile {
        path: format!("file-{index:03}").parse().expect("valid"),
        permission: FilePermission::from_mode(0o644).0,
        owner: Owner::default(),
        content: Content::JmesPath(expression.parse().expect("valid expression")),
        decoding: Decoding::None,
    };
    let files = expressions.iter().enumerate().map(file).collect();
    let object = Object { files, ..Object::at(Name("shop/db"), 1) };
    let value = SecretValue { content: SecretBytes::from(secret.to_owned()), version: "v1".into(), source: None };
    let limits = Limits { max_value_bytes: max, max_mount_bytes: max, ..Limits::DEFAULT };
    let rendered = render(
        &[(&object, &Fetched { address: Name("shop/db"), value: value.into() })],
        true,
        &[],
        &limits,
        &SystemClock,
    )?;
    Ok(rendered
        .files
        .into_values()
        .map(|file| String::from_utf8(file.content.expose().to_vec()).expect("UTF-8"))
        .collect())
}

#[test]
fn scalars_keep_their_spelling() {
    let secret = r#"{"s": "x\ty", "i": 5432, "f": 1.10, "e": 1e3, "big": 12345678901234567890123, "neg": -0, "t": true,
        "in \"a\" 9 string": "1.50", "list": [1.0, {"k": 2.50}], "dup": 1.00, "dup": 2.00}"#;
    let read =
        pick_all(secret, &["s", "i", "f", "e", "big", "neg", "t", "list", "list[1].k", "dup", "length(list)"], 1000);
    let expected = [
        "x\ty",
        "5432",
        "1.10",
        "1e3",
        "12345678901234567890123",
        "-0",
        "true",
        r#"[1.0,{"k":2.50}]"#,
        "2.50",
        "2.00",
        "2",
    ];
    assert_eq!(read.expect("rendered"), expected);
}

#[test]
fn a_misspelt_key_is_answered_with_the_nearest_ones() {
    let error = pick_all(r#"{"username": "u", "password": "p", "host": "h"}"#, &["usrname"], 100).expect_err("missing");
    assert_eq!(error.reason(), Reason::JsonKeyNotFound);
    let text = error.to_string();
    assert!(
        text.starts_with(r#"key "usrname" is not in secret "shop/db" (object 1, file "file-000"); it has "username","#),
        "{text}"
    );
    assert!(!text.contains("\"u\"") && !text.contains("\"p\""), "{text}");
}

#[test]
fn a38_what_is_no_json_is_named_without_being_quoted() {
    let deep = "[".repeat(10_000);
    for secret in ["hunter2", "{\"a\": hunter2}", "", "{\"a\": NaN}", "\"\\ud800\"", "{} {}", &deep] {
        let error = pick_all(secret, &["a"], 100).expect_err(secret);
        assert_eq!(error.reason(), Reason::NotJson);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert_eq!(pick_all("\u{feff}{\"a\": \"b\"}", &["a"], 100).expect("a byte order mark is skipped"), ["b"]);
}

#[test]
fn a10_an_expression_cannot_multiply_a_secret_beyond_the_limit() {
    let twice = "[@,@]".to_owned() + &"|[@,@]".repeat(18);
    let error = pick_all("\"xxxxxxxx\"", &[&twice], 100_000).expect_err("too large");
    assert_eq!(error.reason(), Reason::LimitExceeded);
}

proptest! {
    #[test]
    fn every_number_comes_out_as_it_went_in(numbers in proptest::collection::vec("-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,8})?([eE][+-]?[0-9]{1,2})?", 1..8)) {
        let secret = format!("{{\"list\": [{}]}}", numbers.join(", "));
        let expressions: Vec<String> = (0..numbers.len()).map(|index| format!("list[{index}]")).collect();
        let expressions: Vec<&str> = expressions.iter().map(String::as_str).collect();
        prop_assert_eq!(pick_all(&secret, &expressions, 1000).expect("rendered"), numbers);
    }

    #[test]
    fn text_comes_out_as_it_went_in(text in "\\PC{0,40}|[\\x00-\\x1f\"\\\\]{0,10}") {
        let secret = serde_json::json!({ "key": text }).to_string();
        prop_assert_eq!(pick_all(&secret, &["key"], 1000).expect("rendered"), [text]);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\":,0-9eE.+\\- truefalsn\\\\]{0,60}|\\PC{0,40}") {
        let _ = pick_all(&text, &["a", "@", "[0]"], 1000);
    }
}

#[test]
fn computed_numbers_are_written_as_the_official_provider_writes_them() {
    let secret = r#"{"n": [1, 2], "f": 1.0, "e": 1e3, "half": 0.5, "zero": -0.0, "tiny": 1e-7, "huge": 1e21, "below": 123456789012345678901}"#;
    let numbers = ["sum(n)", "avg(n)", "to_string(f)", "to_string(e)", "to_string(half)", "to_string(zero)"];
    assert_eq!(pick_all(secret, &numbers, 100).expect("numbers"), ["3", "1.5", "1", "1000", "0.5", "-0"]);
    let far = ["to_string(tiny)", "to_string(huge)", "to_string(below)", "to_string(n)"];
    assert_eq!(pick_all(secret, &far, 100).expect("numbers"), ["1e-7", "1e+21", "123456789012345680000", "[1,2]"]);
    assert!(matches!(pick_all(secret, &["&n"], 100), Err(RenderError::NothingSelected { .. })));
}

fn everything() -> Expansion {
    Expansion {
        include: vec![],
        exclude: vec![],
        prefix: String::new(),
        ending: String::new(),
        case: Case::Keep,
        translation: Translation::Off,
        permission: FilePermission::from_mode(0o644).0,
        owner: Owner::default(),
        decoding: Decoding::None,
    }
}

/// Expands some secrets, each of an object of its own.
fn expand_all(secrets: &[&str], expansion: &Expansion, limits: &Limits) -> Result<Rendered, RenderError> {
    let object = |position| Object {
        expansion: Some(expansion.clone()),
        ..Object::at(Name(["", "shop/a", "shop/b"][position]), position)
    };
    let objects: Vec<_> = (1..=secrets.len()).map(object).collect();
    let value = |secret: &&str| SecretValue {
        content: SecretBytes::from((*secret).to_owned()),
        version: "v1".into(),
        source: None,
    };
    let values = objects.iter().map(|object| object.address.clone()).zip(secrets.iter().map(value));
    let values: Vec<_> = values.map(|(address, value)| Fetched { address, value: value.into() }).collect();
    render(&objects.iter().zip(&values).collect::<Vec<_>>(), true, &[], limits, &SystemClock)
}

#[test]
fn a_file_of_another_object_is_replaced_with_a_warning() {
    let rendered = expand_all(&[r#"{"a": "1", "b": "2"}"#, r#"{"b": "3"}"#], &everything(), &Limits::DEFAULT);
    let rendered = rendered.expect("rendered");
    let content = |path: &str| String::from_utf8(rendered.files[path].content.expose().to_vec()).expect("UTF-8");
    assert_eq!((content("a"), content("b")), ("1".into(), "3".into()));
    assert_eq!(rendered.warnings, ["the file \"b\" of object 1 is replaced by that of object 2"]);
}

#[test]
fn a14_expanded_keys_and_files_are_limited_over_the_whole_mount() {
    let reason = |limits: Limits| {
        let error = expand_all(&[r#"{"a": 1, "b": 2}"#, r#"{"c": 3}"#], &everything(), &limits).expect_err("too many");
        (error.reason(), error.to_string())
    };
    let (of_keys, text) = reason(Limits { max_expanded_keys: 2, ..Limits::DEFAULT });
    assert_eq!(of_keys, Reason::LimitExceeded);
    assert!(text.contains("more than 2 keys") && text.contains("--max-expanded-keys"), "{text}");
    let (of_files, text) = reason(Limits { max_files: 2, ..Limits::DEFAULT });
    assert_eq!(of_files, Reason::LimitExceeded);
    assert!(text.contains("3 files; 2 is the limit") && text.contains("--max-files"), "{text}");
    let exact = Limits { max_expanded_keys: 3, max_files: 3, ..Limits::DEFAULT };
    assert_eq!(
        expand_all(&[r#"{"a": 1, "b": 2}"#, r#"{"c": 3}"#], &everything(), &exact).expect("fits").files.len(),
        3
    );
}

#[test]
fn a14_patterns_that_take_long_are_refused_and_those_of_every_day_are_not() {
    let keys: std::collections::BTreeMap<_, _> =
        (0..900).map(|n| (format!("SHOP_DATABASE_SETTING_{n:03}"), "x")).collect();
    let secret = serde_json::to_string(&keys).expect("JSON");
    let expand = |include: Vec<String>| {
        let expansion = Expansion { include: include.into_iter().map(Into::into).collect(), ..everything() };
        expand_all(&[&secret], &expansion, &Limits::DEFAULT).map(|rendered| rendered.files.len())
    };
    assert_eq!(expand(vec!["SHOP_*".into(), "*_SETTING_1*".into(), "SHOP_DATABASE_SETTING_007".into()]), Ok(900));
    assert_eq!(expand(keys.keys().take(200).cloned().collect()), Ok(200));
    let hostile = vec![format!("*{}b", "?".repeat(250)); 200];
    assert_eq!(expand(hostile).expect_err("too many steps"), RenderError::TooManySteps);
}

#[test]
fn a39_a_key_of_ten_kilobytes_is_refused_in_a_short_text() {
    let secret = format!(r#"{{"{}": "x"}}"#, "é".repeat(10_000));
    let error = expand_all(&[&secret], &everything(), &Limits::DEFAULT).expect_err("too long");
    assert_eq!(error.reason(), Reason::InvalidFileName);
    assert!(error.to_string().len() < 700, "{error}");
}

#[test]
fn a_certificate_that_ends_is_kept_out_from_the_next_second_on() {
    let pair = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let certificate = params.self_signed(&pair).expect("signed").pem();
    let object = Object {
        verification: Verification { not_expired: true, ..Verification::default() },
        ..Object::at(Name("shop/tls"), 1)
    };
    let value = SecretValue { content: certificate.into(), version: "v".into(), source: None };
    let fetched = Fetched { address: Name("shop/tls"), value: value.into() };
    let clock = ManualClock::at(params.not_after.into());
    let verify = || render(&[(&object, &fetched)], true, &[], &Limits::DEFAULT, &clock).map(|rendered| rendered.files);
    assert_eq!(verify(), Ok(Files::new()));
    clock.advance(std::time::Duration::from_secs(1));
    let error = verify().expect_err("it has ended");
    assert_eq!(error.reason(), Reason::ValueRejected);
    assert!(error.to_string().contains("its certificate ended on 2030-01-01"), "{error}");
}

#[test]
fn a14_templates_together_stay_within_a_mount() {
    let template = |number| crate::plan::Template {
        path: format!("t{number}").parse().expect("valid"),
        permission: FilePermission::from_mode(0o644).0,
        owner: Owner::default(),
        body: crate::plan::Body::Format(crate::plan::Format::Json),
        files: vec![],
    };
    let object = Object { expansion: Some(everything()), is_for_templates: true, ..Object::at(Name("shop/a"), 1) };
    let value = SecretValue {
        content: format!(r#"{{"a": "{}"}}"#, "x".repeat(1_000)).into(),
        version: "v".into(),
        source: None,
    };
    let fetched = Fetched { address: Name("shop/a"), value: value.into() };
    let fill = |count, max_mount_bytes| {
        let templates: Vec<_> = (0..count).map(template).collect();
        let limits = Limits { max_mount_bytes, ..Limits::DEFAULT };
        render(&[(&object, &fetched)], true, &templates, &limits, &SystemClock).map(|rendered| rendered.files.len())
    };
    assert_eq!(fill(3, 3_100), Ok(3));
    assert_eq!(fill(4, 3_100).expect_err("too large").reason(), Reason::LimitExceeded);
}

#[test]
fn a12_what_the_expressions_of_a_mount_look_through_is_limited() {
    let verify = |sizes: &[usize]| {
        let object = |position| Object {
            verification: Verification { regexp: Some("b$".parse().expect("valid")), ..Verification::default() },
            ..Object::at(Name(["", "shop/a", "shop/b"][position]), position)
        };
        let objects: Vec<_> = (1..=sizes.len()).map(object).collect();
        let value = |size: &usize| SecretValue {
            content: format!("{}b", "a".repeat(size - 1)).into(),
            version: "v".into(),
            source: None,
        };
        let values = objects.iter().zip(sizes.iter().map(value));
        let values: Vec<_> =
            values.map(|(object, value)| Fetched { address: object.address.clone(), value: value.into() }).collect();
        render(&objects.iter().zip(&values).collect::<Vec<_>>(), true, &[], &Limits::DEFAULT, &SystemClock)
            .map(|rendered| rendered.files.len())
    };
    assert_eq!(verify(&[64 * 1024]), Ok(0));
    assert_eq!(verify(&[40 * 1024, 40 * 1024]).expect_err("too much").reason(), Reason::LimitExceeded);
}

proptest! {
    #[test]
    fn a39_whatever_the_keys_are_called_files_stay_below_and_have_what_the_keys_have(
        members in proptest::collection::btree_map("([a./\\\\]|\\PC){0,6}|[.]{1,3}[a-z/]{0,4}", "\\PC{0,8}", 1..6),
        prefix in "[a./]{0,3}",
        case in prop_oneof![Just(Case::Keep), Just(Case::Lower), Just(Case::Upper)],
        translation in prop_oneof![Just(Translation::Off), Just(Translation::To('_')), Just(Translation::To('.'))],
    ) {
        let secret = serde_json::to_string(&members).expect("JSON");
        let expansion = Expansion { prefix, case, translation, ..everything() };
        let Ok(rendered) = expand_all(&[&secret], &expansion, &Limits::DEFAULT) else { return Ok(()) };
        prop_assert_eq!(rendered.files.len(), members.len());
        let mut contents: Vec<_> = rendered.files.values().map(|file| file.content.expose().to_vec()).collect();
        let mut values: Vec<_> = members.into_values().map(String::into_bytes).collect();
        contents.sort();
        values.sort();
        prop_assert_eq!(contents, values);
        for path in rendered.files.keys() {
            let parts = std::path::Path::new(path.as_str()).components();
            prop_assert!(parts.into_iter().all(|part| matches!(part, std::path::Component::Normal(_))), "{}", path);
            prop_assert!(!path.as_str().starts_with(".."));
        }
    }
}
